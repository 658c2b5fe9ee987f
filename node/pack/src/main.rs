//! `capmesh-capsule`: from nothing to a signed capsule, on an author's machine.

use capmesh_capsule::cli::Arguments;
use capmesh_capsule::meter::Meter;
use clap::Parser;
use std::process::ExitCode;

/// Counts what capsules take while they are measured.
#[global_allocator]
static METER: Meter = Meter;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code()
        }
    }
}
