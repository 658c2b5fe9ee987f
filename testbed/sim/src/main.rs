//! `capmesh-sim`: runs meshes in virtual time, and says what was wrong with them.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let table = arguments.next().and_then(|name| command::tables::print(&name, arguments.next()));
    if let Some(code) = table {
        return code;
    }
    match command::options::read(lexopt::Parser::from_env()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(options)) => command::run(&options),
        Err(error) => {
            eprintln!("error: {error}\n\n`cargo xtask sim --help` says how it is used");
            ExitCode::from(2)
        }
    }
}
