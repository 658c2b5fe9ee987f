//! The tables of the migration matrix, of rollouts and of revocations.

use capmesh_sim::matrix;
use capmesh_sim::rollout::{distribution, plot, revocation};
use capmesh_sim::scenario::STACK;
use std::process::ExitCode;

/// The seed of everything here.
const SEED: u64 = 1;

/// Numbers of nodes that a capsule is brought to.
const NODES: [u16; 5] = [1, 10, 50, 100, 200];

/// Prints the table of this name, if there is one. `plot` is where that of a rollout is written to.
pub(crate) fn print(name: &str, plot: Option<String>) -> Option<ExitCode> {
    let print: fn(Option<String>) -> ExitCode = match name {
        "matrix" => |_| migrations(),
        "rollout" => rollouts,
        "revocation" => |_| revocations(),
        _ => return None,
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || print(plot));
    Some(thread.ok()?.join().unwrap_or(ExitCode::FAILURE))
}

fn migrations() -> ExitCode {
    let all = matrix::cells().count();
    let mut done = 0;
    let (text, failures) = matrix::table(SEED, |cell| {
        done += 1;
        eprintln!("{done}/{all} {cell}");
    });
    println!("{text}");
    for failure in &failures {
        println!("{failure}");
    }
    println!("{} of {all} hold", all - failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rollouts(file: Option<String>) -> ExitCode {
    println!(
        "| nodes | first | last | against one alone | registry gives | nodes send | air taken |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut outcomes = Vec::new();
    for nodes in NODES {
        let outcome = distribution::run(nodes, SEED);
        outcomes.push(outcome);
        let alone = outcomes.first().map_or(1.0, |first| first.last.as_secs_f64());
        println!(
            "| {nodes} | {:.1} s | {:.1} s | {:.2} | {:.2} copies | {:.2} copies | {:.1} s |",
            outcome.first.as_secs_f64(),
            outcome.last.as_secs_f64(),
            outcome.last.as_secs_f64() / alone,
            outcome.egress,
            outcome.passed_on,
            outcome.air.as_secs_f64(),
        );
    }
    match file.map(|file| std::fs::write(file, plot::svg(&outcomes))) {
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn revocations() -> ExitCode {
    println!("| loss | first node | half | nine of ten | all 199 | datagrams |");
    println!("|---|---|---|---|---|---|");
    for loss in [0, 100, 200, 300] {
        match revocation::run(200, 10, loss, SEED) {
            Ok(outcome) => println!(
                "| {} % | {:.2} s | {:.2} s | {:.2} s | {:.2} s | {} |",
                loss / 10,
                outcome.first.as_secs_f64(),
                outcome.half.as_secs_f64(),
                outcome.most.as_secs_f64(),
                outcome.all.as_secs_f64(),
                outcome.datagrams,
            ),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
