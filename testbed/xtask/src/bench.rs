//! `cargo xtask bench`: the benchmarks of the crates, then those of the whole.

use anyhow::Result;
use lexopt::Arg;

use crate::{process::run, workspace};

const HELP: &str = "\
Runs the benchmarks: of each crate that has some, then requests a second and handshakes over loopback
beside other implementations (testbed/bench; `cargo xtask setup` installs those).

Usage: cargo xtask bench [--quick]

  --quick   fewer repetitions of the crates' benchmarks";

pub(crate) fn main(mut args: lexopt::Parser) -> Result<()> {
    let mut is_quick = false;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("quick") => is_quick = true,
            Arg::Long("help") | Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    for package in workspace::packages()?.values() {
        if workspace::root().join(&package.folder).join("benches").is_dir() {
            let mut cargo = workspace::cargo();
            cargo.args(["bench", "--locked", "--package", &package.name, "--bench", "*"]);
            if is_quick {
                cargo.args(["--", "--quick"]);
            }
            run(&mut cargo)?;
        }
    }
    run(workspace::cargo().args(["run", "--locked", "--release", "--package", "capmesh-bench"]))
}
