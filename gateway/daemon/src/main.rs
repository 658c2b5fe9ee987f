//! The program `capmesh-gatewayd`.

use capmesh_gatewayd::command::Arguments;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the gateway of a site: it keeps the site's nodes, decides what runs where, and carries values to
/// an MQTT broker.
///
/// What is not said here comes from the environment (CAPMESH_GATEWAY_HTTP__LISTEN and so on), then from
/// the file, and then is as capmesh-gateway.example.toml has it.
///
/// Exit codes: 0 it was told to stop; 1 it could not start or broke down; 2 it was told something wrong.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, args_override_self = true)]
struct Program {
    /// The site's directory, as `capmesh site init` makes it.
    #[arg(long, env = "CAPMESH_SITE", value_name = "DIRECTORY")]
    site: Option<PathBuf>,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    let Program { site, arguments } = Program::parse();
    match (Arguments { site, ..arguments }).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("capmesh-gatewayd: {failure}");
            if let Some(help) = failure.help() {
                eprintln!("  {help}");
            }
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Program::command().debug_assert();
    }
}
