//! `capmesh-sim`: runs meshes in virtual time, and says what was wrong with them.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::options::read(lexopt::Parser::from_env()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(options)) => command::run(&options),
        Err(error) => {
            eprintln!("error: {error}\n\n`cargo xtask sim --help` says how it is used");
            ExitCode::from(2)
        }
    }
}
