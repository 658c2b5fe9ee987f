//! The tables of the migration matrix, of rollouts and of revocations.

use capmesh_sim::matrix;
use capmesh_sim::rollout::{distribution, plot, revocation};
use capmesh_sim::scenario::STACK;
use std::process::ExitCode;

/// The seed of everything here.
const SEED: u64 = 1;

/// Numbers of nodes that a capsule is brought to, and how many seeds each is tried with.
const NODES: [(u16, u64); 5] = [(1, 10), (10, 10), (50, 10), (100, 3), (200, 3)];

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
        "| nodes | seeds | first | last | at worst | against one alone | registry gives | nodes send | air taken |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut outcomes, mut alone) = (Vec::new(), 0.0);
    for (nodes, seeds) in NODES {
        let seeds = SEED..SEED + seeds;
        let mut all: Vec<_> = seeds.map(|seed| distribution::run(nodes, seed)).collect();
        all.sort_by_key(|outcome| outcome.last);
        if nodes == 1 {
            alone = mean(&all);
        }
        let worst = all.last().map_or(0.0, |outcome| outcome.last.as_secs_f64());
        let most = all.iter().map(|outcome| outcome.egress).fold(0.0, f64::max);
        let Some(middle) = all.get(all.len() / 2).copied() else { continue };
        outcomes.push(middle);
        println!(
            "| {nodes} | {} | {:.1} s | {:.1} s | {worst:.1} s | {:.2}, at worst {:.2} | {:.2}, at most {most:.2} copies | {:.2} copies | {:.1} s |",
            all.len(),
            middle.first.as_secs_f64(),
            middle.last.as_secs_f64(),
            mean(&all) / alone,
            worst / alone,
            middle.egress,
            middle.passed_on,
            middle.air.as_secs_f64(),
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

/// The mean time until the last node has it, in seconds.
fn mean(outcomes: &[distribution::Outcome]) -> f64 {
    let sum: f64 = outcomes.iter().map(|outcome| outcome.last.as_secs_f64()).sum();
    sum / outcomes.len() as f64
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
