//! The `capmesh` command.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = capmesh::commands::Arguments::parse();
    match capmesh::commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capmesh: {error:#}");
            ExitCode::FAILURE
        }
    }
}
