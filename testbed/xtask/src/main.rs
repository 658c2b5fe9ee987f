//! The project's chores, run as `cargo xtask <chore>`: one module for each.
//!
//! Purpose: everything the README and the CI promise is one command, the same on a developer's
//! machine and in CI, and says what it does while it does it.
//!
//! Deliberately absent: anything a user of Capsule Mesh needs at run time. That is the `capmesh`
//! command; this crate only builds, checks and measures.

mod bench;
mod capsules;
mod cross;
mod dashboard;
mod features;
mod fuzz;
mod options;
mod process;
mod setup;
mod sim;
mod size;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
The project's chores.

Usage: cargo xtask <chore> [options]

  setup     install what building and testing needs and is not there yet
  test      set up, then run every check the README promises (--help: its steps)
  tidy      house rules: dependency arrows, lengths, what a core must not contain
  capsules  build the example capsules and compare them with those committed (--write)
  dashboard build the gateway's page, compare it with the one committed, look at it (--write)
  cross     build every protocol crate for the three microcontroller targets
  sim       run whole meshes in virtual time, from a seed, and see what fails
  size      build and run the firmware footprint image; compare with sizes.toml
  bench     run the benchmarks (--quick: a short round)
  fuzz      run the fuzz targets ([target]... [--seconds N] [--jobs N])

`cargo xtask <chore> --help` says more about one chore.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = lexopt::Parser::from_env();
    let chore = match args.next()? {
        Some(lexopt::Arg::Value(chore)) => chore.to_string_lossy().into_owned(),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) | None => {
            println!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match chore.as_str() {
        "setup" => setup::main(args),
        "test" => test::main(args),
        "tidy" => tidy::main(args),
        "cross" => cross::main(args),
        "bench" => bench::main(args),
        "capsules" => capsules::main(args),
        "dashboard" => dashboard::main(args),
        "fuzz" => fuzz::main(args),
        "sim" => sim::main(args),
        "size" => size::main(args),
        _ => bail!("there is no chore {chore:?}\n\n{HELP}"),
    }
}
