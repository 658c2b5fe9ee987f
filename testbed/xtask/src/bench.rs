//! `cargo xtask bench`: the benchmarks of the crates, then those of the whole.

use anyhow::{Context, Result};
use lexopt::{Arg, ValueExt};

use crate::{process::run, workspace};

const HELP: &str = "\
Runs the benchmarks: of each crate that has some; requests a second and handshakes over loopback
beside other implementations (testbed/bench; `cargo xtask setup` installs those); and the capsule
runtime beside other Wasm engines (testbed/bench/wasm, a package of its own, since Wasmtime takes
minutes to build; it needs a C compiler and libclang for wasm3).

Usage: cargo xtask bench [--quick] [crates] [network] [wasm]

  --quick   fewer repetitions

Without a name it runs all three.";

/// What can be run by itself.
const PARTS: [&str; 3] = ["crates", "network", "wasm"];

pub(crate) fn main(mut args: lexopt::Parser) -> Result<()> {
    let mut is_quick = false;
    let mut chosen = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("quick") => is_quick = true,
            Arg::Long("help") | Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            Arg::Value(part) => {
                let part = part.string()?;
                let known = PARTS.into_iter().find(|known| *known == part);
                chosen.push(known.with_context(|| format!("there is no {part}; see --help"))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let wants = |part| chosen.is_empty() || chosen.contains(&part);
    if wants("crates") {
        crates(is_quick)?;
    }
    if wants("network") {
        run(workspace::cargo().args([
            "run",
            "--locked",
            "--release",
            "--package",
            "capmesh-bench",
        ]))?;
    }
    if wants("wasm") {
        wasm(is_quick)?;
    }
    Ok(())
}

fn crates(is_quick: bool) -> Result<()> {
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
    Ok(())
}

fn wasm(is_quick: bool) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(workspace::root().join("testbed/bench/wasm"));
    cargo.args(["run", "--release", "--target-dir"]).arg(workspace::target().join("bench-wasm"));
    if is_quick {
        cargo.args(["--", "--quick"]);
    }
    run(&mut cargo)
}
