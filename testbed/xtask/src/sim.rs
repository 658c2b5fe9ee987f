//! `cargo xtask sim`: whole meshes in virtual time, from a seed.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{process::run, workspace};

/// Seeds that every round of all tests runs, beside those of past failures.
const SEEDS: &str = "1..51";

/// How large their meshes are and how long things happen in them. A long run takes more of both.
const SIZE: [&str; 4] = ["--nodes", "6", "--minutes", "1"];

/// Builds the simulation and hands it the command line; exits as it does.
pub(crate) fn main(mut args: lexopt::Parser) -> Result<()> {
    let args: Vec<OsString> = args.raw_args()?.collect();
    let status = status(&args)?;
    // Its exit code says whether a mesh failed or the command made no sense.
    std::process::exit(status.code().unwrap_or(1))
}

/// Runs the seeds of past failures, and as many new ones as there is time for in a round of all tests.
pub(crate) fn run_all() -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let past = workspace::root().join("testbed/sim/seeds.txt");
    let past = past.to_string_lossy();
    round(&["--list", &past, "--jobs", &jobs])?;
    round(&[&["--seeds", SEEDS, "--jobs", &jobs], &SIZE[..]].concat())
}

fn round(args: &[&str]) -> Result<()> {
    let start = Instant::now();
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let status = status(&args)?;
    if !status.success() {
        bail!("a mesh failed after {:.0} s ({status})", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn status(args: &[OsString]) -> Result<ExitStatus> {
    let program = build()?;
    let mut command = Command::new(&program);
    command.args(args);
    command.status().with_context(|| format!("cannot start {}", program.display()))
}

/// Builds it, optimised and with every assertion; returns the program.
fn build() -> Result<PathBuf> {
    run(workspace::cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--profile",
        "sim",
        "--package",
        "capmesh-sim",
    ]))?;
    Ok(workspace::target().join("sim/capmesh-sim"))
}
