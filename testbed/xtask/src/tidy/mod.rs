//! `cargo xtask tidy`: the house rules that a program can check.

mod arrows;

use anyhow::{Result, bail};

use crate::{options, workspace};

const HELP: &str = "\
Checks the house rules that a program can check, and names every place that breaks one.

Usage: cargo xtask tidy

  arrows    every crate of the workspace is in the table of who may use whom, and keeps to it";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { run() } else { Ok(()) }
}

/// Checks every rule; fails after naming all that is wrong.
pub(crate) fn run() -> Result<()> {
    let packages = workspace::packages()?;
    let faults = arrows::check(&packages);
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("1 thing is not tidy"),
        count => bail!("{count} things are not tidy"),
    }
}
