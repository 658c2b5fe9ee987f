//! The `capmesh` command.

use capmesh_capsule::meter::Meter;
use clap::Parser as _;
use std::process::ExitCode;

/// Counts what capsules take while they are measured.
#[global_allocator]
static METER: Meter = Meter;

fn main() -> ExitCode {
    match capmesh::commands::run(capmesh::commands::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capmesh: {error:#}");
            capmesh::commands::code(&error)
        }
    }
}
