//! `cargo xtask tidy`: the house rules that a program can check.

mod arrows;
mod crates;
mod files;
mod source;

use anyhow::{Result, bail};

use crate::{options, workspace};

const HELP: &str = "\
Checks the house rules that a program can check, and names every place that breaks one.

Usage: cargo xtask tidy

  arrows     every crate of the workspace is in the table of who may use whom, and keeps to it
  trees      no I/O, clock, executor, logging or randomness in the dependency tree of a core
  lengths    a file has at most 600 lines, a function at most 70, tests not counted
  cores      no_std, without allocator, hash maps and async, outside of tests
  docs       every crate says what it is
  marks      nothing is marked as unfinished

Tests are `tests.rs`, the folders `tests`, `benches` and `examples`, what #[cfg(test)] hides, and
what is behind the feature `test-util`.";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { run() } else { Ok(()) }
}

/// Checks every rule; fails after naming all that is wrong.
pub(crate) fn run() -> Result<()> {
    let packages = workspace::packages()?;
    let mut faults = arrows::check(&packages);
    for package in packages.values() {
        faults.extend(files::check_package(package)?);
        if package.is_core() {
            faults.extend(crates::check(package)?);
        }
    }
    faults.extend(files::check_marks()?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("1 thing is not tidy"),
        count => bail!("{count} things are not tidy"),
    }
}
