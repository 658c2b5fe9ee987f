//! `cargo xtask test`: every check the README promises.

use std::{cell::Cell, fs};

use anyhow::{Context, Result};

use crate::{
    capsules, cross, dashboard, features, fuzz, options,
    process::{output, run, succeeds},
    setup, sim, size,
    steps::{Done, Steps},
    tidy, workspace,
};

const HELP: &str = "\
Sets up, then runs every check the README promises. A step that fails does not stop the others;
the last lines are the steps with their times and the count of tests.

Usage: cargo xtask test

  setup       install what is missing
  fmt         every file is formatted
  tidy        house rules
  clippy      no warning in any crate, all features
  features    no warning in any documented combination of features
  tests       unit, property, vector and interop tests
  doctests    examples in the documentation
  sim         50 seeds of whole meshes in virtual time, and every seed that once failed
  capsules    the example capsules' own tests
  dist        the committed capsules are what their sources build, and take what they state
  dashboard   the committed page is what its source builds, and works in a browser
  cross       no_std builds for the microcontrollers
  size        flash, stack and instructions of the protocols on a Cortex-M3
  fuzz        30 seconds of each fuzz target
  deny        licences and sources of dependencies
  advisories  known defects of dependencies, where the database can be reached";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { run_all() } else { Ok(()) }
}

fn run_all() -> Result<()> {
    let count = Cell::new(Count::default());
    let mut steps = Steps::default();
    steps.run("setup", || setup::run().map(passed));
    steps.run("fmt", || run(workspace::cargo().args(["fmt", "--all", "--check"])).map(passed));
    steps.run("tidy", || tidy::run().map(passed));
    steps.run("clippy", || clippy().map(passed));
    steps.run("features", || features::check_all().map(passed));
    steps.run("tests", || {
        let (ran, outcome) = tests()?;
        count.set(count.get().plus(ran));
        outcome.map(passed)
    });
    steps.run("doctests", || {
        let ran = doctests()?;
        count.set(count.get().plus(ran));
        Ok(Done::Passed)
    });
    steps.run("sim", || sim::run_all().map(passed));
    steps.run("capsules", || {
        let ran = capsules()?;
        count.set(count.get().plus(ran));
        Ok(Done::Passed)
    });
    steps.run("dist", capsules::check);
    steps.run("dashboard", dashboard::check);
    steps.run("cross", || cross::build_all().map(passed));
    steps.run("size", || size::run_all().map(passed));
    steps.run("fuzz", || fuzz::run_all().map(passed));
    steps.run("deny", || deny(&["licenses", "bans", "sources"]).map(passed));
    steps.run("advisories", advisories);
    let outcome = steps.finish();
    let Count { passed, failed } = count.get();
    // Alone on its line and last: what reads a CI log looks for it.
    println!("\n{passed} passed, {failed} failed");
    outcome
}

fn passed((): ()) -> Done {
    Done::Passed
}

fn clippy() -> Result<()> {
    run(workspace::cargo()
        .args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--all-features"])
        .args(["--", "--deny", "warnings"]))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Runs all tests but those in documentation. Tests that ran are counted even when some failed.
fn tests() -> Result<(Count, Result<()>)> {
    let report = workspace::target().join("nextest/default/junit.xml");
    // The report of an earlier run must not be counted when this one does not get as far.
    if report.exists() {
        fs::remove_file(&report).context("cannot remove the last report")?;
    }
    let outcome = run(workspace::cargo()
        .args(["nextest", "run", "--locked", "--workspace", "--all-features"])
        .args(["--no-fail-fast", "--status-level", "fail", "--final-status-level", "slow"])
        // The outside peers have been set up: one that is not there is a failure, not a skip.
        .env("CI", "true"));
    match fs::read_to_string(report) {
        Ok(report) => Ok((junit_count(&report)?, outcome)),
        Err(_) => outcome.and_then(|()| anyhow::bail!("nextest left no report")),
    }
}

/// The count in the first element of nextest's report.
fn junit_count(report: &str) -> Result<Count> {
    let start = report.find("<testsuites").context("nextest's report has no <testsuites>")?;
    let element = report.get(start..).unwrap_or_default();
    let element = element.split('>').next().unwrap_or_default();
    let attribute = |name: &str| -> Result<usize> {
        let value =
            element.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        Ok(value.with_context(|| format!("nextest's report has no {name}"))?.parse()?)
    };
    let (tests, failed) = (attribute("tests")?, attribute("failures")? + attribute("errors")?);
    Ok(Count { passed: tests.saturating_sub(failed), failed })
}

/// Runs the examples in the documentation. They are counted when all pass.
fn doctests() -> Result<Count> {
    let text = output(workspace::cargo().args([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-features",
        "--doc",
    ]))?;
    print!("{text}");
    Ok(result_count(&text))
}

/// Runs the tests of the example capsules, which are a workspace of their own. They are counted when
/// all pass.
fn capsules() -> Result<Count> {
    let manifest = "examples/capsules/Cargo.toml";
    run(workspace::cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
    let text = output(
        workspace::cargo()
            .args(["test", "--quiet", "--locked", "--workspace", "--manifest-path", manifest])
            .arg("--target-dir")
            .arg(workspace::target().join("capsules")),
    )?;
    Ok(result_count(&text))
}

/// Adds up what `cargo test` says of each binary.
fn result_count(text: &str) -> Count {
    let passed = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok()
        })
        .sum();
    Count { passed, failed: 0 }
}

fn deny(checks: &[&str]) -> Result<()> {
    run(workspace::cargo()
        .args(["deny", "--locked", "check", "--hide-inclusion-graph"])
        .args(checks))
}

/// Needs the advisory database, which is not to be had everywhere.
fn advisories() -> Result<Done> {
    if !succeeds(workspace::cargo().args(["deny", "fetch", "db"])) {
        return Ok(Done::Skipped("the advisory database cannot be reached".into()));
    }
    deny(&["advisories"]).map(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_reports_first_element() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="12" failures="2" errors="1" uuid="x" time="0.1">
    <testsuite name="a" tests="7" disabled="0" errors="0" failures="0">"#;
        assert_eq!(junit_count(report).unwrap(), Count { passed: 9, failed: 3 });
        assert!(junit_count("<testsuites>").is_err());
        assert!(junit_count("").is_err());
    }

    #[test]
    fn doctests_of_all_crates_add_up() {
        let text = "\nrunning 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\n\
                    test result: ok. 3 passed; 0 failed; 0 ignored\n";
        assert_eq!(result_count(text), Count { passed: 5, failed: 0 });
    }
}
