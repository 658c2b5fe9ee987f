//! The `capmesh` command.

use capmesh::Failure;
use capmesh::commands::{Arguments, run};
use capmesh_capsule::meter::Meter;
use clap::Parser as _;
use std::process::ExitCode;

/// Counts what capsules take while they are measured.
#[global_allocator]
static METER: Meter = Meter;

fn main() -> ExitCode {
    // Also when the arguments are none that it could be read from.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let failure = match Arguments::try_parse() {
        Ok(arguments) => match run(arguments) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => Failure::of(&error),
        },
        Err(error) if json && error.use_stderr() => Failure::of_arguments(&error),
        Err(error) => error.exit(),
    };
    if json {
        eprintln!("{}", failure.json());
    } else {
        eprintln!("capmesh: {failure}");
    }
    failure.exit()
}
