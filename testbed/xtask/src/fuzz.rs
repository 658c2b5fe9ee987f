//! `cargo xtask fuzz`: libFuzzer over the targets of `testbed/fuzz`.
//!
//! The compiler's own coverage pass and the fuzzer that `libfuzzer-sys` builds from source are all
//! it takes: a stable compiler and a C++ compiler. There is no sanitizer, as `unsafe` is denied in
//! what is fuzzed; overflow checks and debug assertions are on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};

use crate::{
    process::{output, run},
    workspace,
};

const HELP: &str = "\
Fuzzes every parser and state machine that takes bytes from outside.

Usage: cargo xtask fuzz [target]... [--seconds N] [--jobs N] [--list]

  target       only these; all by default
  --seconds N  how long each (30)
  --jobs N     how many at the same time (as many as there are processors)
  --list       name the targets

What it learns stays in target/fuzz/corpus. A finding is written to target/fuzz/findings/<target>;
copied to testbed/fuzz/regressions/<target>, it is run at the start of every round.";

/// What cargo-fuzz tells the compiler too, but for the sanitizer.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg=fuzzing";

/// How long a round is where nobody says.
const SECONDS: u32 = 30;

pub(crate) fn main(mut args: lexopt::Parser) -> Result<()> {
    let all = targets()?;
    let mut plan = Plan { targets: Vec::new(), seconds: SECONDS, jobs: processors() };
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("seconds") => plan.seconds = args.value()?.parse()?,
            Arg::Long("jobs") => plan.jobs = args.value()?.parse()?,
            Arg::Long("list") => {
                println!("{}", all.join("\n"));
                return Ok(());
            }
            Arg::Long("help") | Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            Arg::Value(target) => {
                let target = target.string()?;
                if !all.contains(&target) {
                    bail!("there is no target {target:?}; there are: {}", all.join(", "));
                }
                plan.targets.push(target);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if plan.targets.is_empty() {
        plan.targets = all;
    }
    plan.run()
}

/// A short round of every target.
pub(crate) fn run_all() -> Result<()> {
    Plan { targets: targets()?, seconds: SECONDS, jobs: processors() }.run()
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn package() -> PathBuf {
    workspace::root().join("testbed/fuzz")
}

/// The targets, in the order of their names.
fn targets() -> Result<Vec<String>> {
    let folder = package().join("src/bin");
    let mut targets = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| {
            Ok(entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned())
        })
        .collect::<Result<Vec<String>>>()?;
    targets.sort();
    Ok(targets)
}

struct Plan {
    targets: Vec<String>,
    seconds: u32,
    jobs: usize,
}

impl Plan {
    fn run(&self) -> Result<()> {
        let programs = self.build()?;
        let waiting = Mutex::new(self.targets.iter());
        let failed = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                        let Some(target) = next else { break };
                        match self.fuzz(&programs, target) {
                            Ok(statistics) => println!("  {target:<18} {statistics}"),
                            Err(error) => {
                                eprintln!("  {target:<18} FAILED: {error:#}");
                                if let Ok(mut failed) = failed.lock() {
                                    failed.push(target.clone());
                                }
                            }
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap_or_default();
        if failed.is_empty() { Ok(()) } else { bail!("found something: {}", failed.join(", ")) }
    }

    /// Builds the fuzzers; returns the folder they are in.
    fn build(&self) -> Result<PathBuf> {
        let folder = workspace::target().join("fuzz/build");
        let host = host()?;
        // With a target named, build scripts and macros are not instrumented.
        let mut cargo = workspace::cargo();
        cargo
            .current_dir(package())
            .env("RUSTFLAGS", COVERAGE)
            .args(["build", "--quiet", "--locked", "--release", "--target", &host, "--target-dir"])
            .arg(&folder);
        for target in &self.targets {
            cargo.args(["--bin", target]);
        }
        run(&mut cargo)?;
        Ok(folder.join(host).join("release"))
    }

    /// Runs one fuzzer; returns what it did in a line.
    fn fuzz(&self, programs: &Path, target: &str) -> Result<String> {
        let folder = |kind: &str| workspace::target().join("fuzz").join(kind).join(target);
        let (corpus, findings) = (folder("corpus"), folder("findings"));
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        // Only the first folder is written to; the inputs of all are run before anything else.
        let given = ["corpus", "regressions"].map(|kind| package().join(kind).join(target));
        let inputs = [corpus].into_iter().chain(given.into_iter().filter(|folder| folder.is_dir()));
        let log = workspace::target().join("fuzz").join(format!("{target}.log"));
        let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let status = Command::new(programs.join(target))
            .arg(format!("-max_total_time={}", self.seconds))
            // Ten seconds or half a gigabyte for one input is a finding too.
            .args(["-timeout=10", "-rss_limit_mb=512", "-max_len=4096", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args(inputs)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .status()
            .with_context(|| format!("cannot start the fuzzer of {target}"))?;
        let log_text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if !status.success() {
            let tail: Vec<&str> = log_text.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                eprintln!("    {line}");
            }
            bail!("{status}; see {} and {}", findings.display(), log.display());
        }
        Ok(statistics(&log_text))
    }
}

/// The triple of this machine.
fn host() -> Result<String> {
    let text = output(Command::new("rustc").current_dir(workspace::root()).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}

/// How many inputs it ran and how much of the code they reached.
fn statistics(log: &str) -> String {
    let inputs = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim);
    let reached = log
        .lines()
        .rev()
        .find_map(|line| line.split(" cov: ").nth(1)?.split(' ').next())
        .unwrap_or("?");
    format!("{inputs:>10} inputs, {reached:>5} edges reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_from_the_log() {
        let log = "#2\tINITED cov: 12 ft: 13\n#9\tDONE   cov: 34 ft: 50 corp: 3/9b\n\
                   stat::number_of_executed_units: 99\n";
        assert_eq!(statistics(log), "        99 inputs,    34 edges reached");
        assert_eq!(statistics(""), "         ? inputs,     ? edges reached");
    }
}
