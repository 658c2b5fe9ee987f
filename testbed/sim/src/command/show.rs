//! What people see of a run.

use super::options::Case;
use capmesh_sim::Event;
use capmesh_sim::run::{self, Failure, Shrunk, run_noted};
use capmesh_sim::script::{Action, Script};
use capmesh_wire::Instant;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Shows what would happen.
pub(crate) fn script(script: &Script) {
    println!("seed {}: {}", script.seed, script.swarm);
    println!(
        "well in the end: {} of {} nodes",
        script.core.len(),
        script.shape.nodes + script.spare
    );
    for pipeline in &script.pipelines {
        println!("{pipeline}");
        for line in pipeline.text().lines().filter(|line| !line.is_empty()) {
            println!("    {line}");
        }
    }
    for (number, of) in script.actions.iter().enumerate() {
        println!("{number:>6} {}", line(of));
    }
}

fn line((at, action): &(Duration, Action)) -> String {
    format!("{:>11.3} s  {action}", at.as_secs_f64())
}

/// Shows a failure and what it takes.
pub(crate) fn failure(case: &Case, script: &Script, failure: &Failure, shrunk: Option<&Shrunk>) {
    println!("\nseed {} FAILED {failure}", case.seed);
    println!("commit {}", commit());
    println!("trouble: {}", script.swarm);
    if let Some(Shrunk { prefix, script: least, failure, runs }) = shrunk {
        let all = script.actions.len();
        println!(
            "the first {prefix} of {all} actions still fail; {} are needed ({runs} runs):",
            least.actions.len()
        );
        least.actions.iter().for_each(|action| println!("  {}", line(action)));
        println!("it then fails {failure}");
    }
    println!();
}

/// Shows what happened to those that a failure is about.
pub(crate) fn timeline(history: &[(Instant, Event)], failure: &Failure) {
    print!("{}", run::timeline(history, failure));
}

/// Shows how to run it again.
pub(crate) fn again(case: &Case, script: &Script, shrunk: Option<&Shrunk>) {
    let again = format!("again: cargo xtask sim --seed {case}");
    println!("{again}");
    if let Some(shrunk) = shrunk {
        println!("{again} --first {}", shrunk.prefix);
        let numbers = script.numbers_of(&shrunk.script);
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        println!("{again} --only {}", numbers.join(","));
    }
    println!();
}

/// Writes everything that happens to a file.
pub(crate) fn trace(script: &Script, path: &Path) -> std::io::Result<()> {
    let (_, history) = run_noted(script);
    let mut file = BufWriter::new(File::create(path)?);
    let mut written = Ok(());
    run::trace(&history, |line| {
        if written.is_ok() {
            written = writeln!(file, "{line}");
        }
    });
    written?;
    file.flush()
}

/// What was built, as far as git knows.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|text| text.is_empty());
    if is_clean { commit } else { format!("{commit} and changes that are not committed") }
}
