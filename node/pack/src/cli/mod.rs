//! The command line: one module for each group of commands.

mod build;
mod command;
mod inspect;
mod json;
mod key;
mod new;
mod run;
mod wires;

use crate::assemble::AssembleError;
use capmesh_keyfile::KeyError;
use clap::{Parser, Subcommand};
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Builds, checks, measures, signs and tries out capsules.
///
/// A capsule is a small WebAssembly module and a signed manifest that says what it takes, gives and
/// needs. Its folder has a `capsule.toml`; start one with `capmesh-capsule new NAME`.
///
/// Exit codes: 0 it worked; 1 the capsule or what was given is at fault; 2 the command line is wrong;
/// 3 something is missing on this machine or cannot be read or written.
#[derive(Debug, Parser)]
#[command(name = "capmesh-capsule", version, verbatim_doc_comment)]
pub struct Arguments {
    /// Print JSON, one value a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done to a capsule, for commands that have it among their own.
#[expect(missing_docs, reason = "each says at its type what it does, which is its help")]
#[derive(Debug, Subcommand)]
pub enum Verb {
    New(new::New),
    Build(build::Build),
    Check(build::Check),
    Run(run::Run),
    Inspect(inspect::Inspect),
    Keygen(key::Keygen),
    Sign(key::Sign),
    Command(command::Arguments),
}

impl Arguments {
    /// Does what they say.
    ///
    /// # Errors
    /// If that is not possible, with whose fault it is.
    pub fn run(self) -> Result<(), Failure> {
        self.verb.run(self.json)
    }
}

impl Verb {
    /// Does it, and says what came of it to people or, as a line of JSON, to a program. What a capsule
    /// does that runs is JSON either way.
    ///
    /// # Errors
    /// If that is not possible, with whose fault it is.
    pub fn run(self, json: bool) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(json),
            Self::Build(build) => build.run(json),
            Self::Check(check) => check.run(json),
            Self::Run(run) => run.run(),
            Self::Inspect(inspect) => inspect.run(json),
            Self::Keygen(keygen) => keygen.run(json),
            Self::Sign(sign) => sign.run(json),
            Self::Command(command) => command.run(),
        }
    }
}

/// Why a command failed, and whose fault it is.
#[derive(Debug)]
pub enum Failure {
    /// What was given is at fault.
    Given(String),
    /// Something about this machine is.
    Machine(String),
}

impl Failure {
    /// What the process ends with.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Given(_) => ExitCode::from(1),
            Self::Machine(_) => ExitCode::from(3),
        }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self::Machine(format!("{}: {error}", path.display()))
    }

    fn given(path: &Path, error: impl fmt::Display) -> Self {
        Self::Given(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Given(text) | Self::Machine(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Failure {}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Self {
        if error.is_the_machines() {
            Self::Machine(error.to_string())
        } else {
            Self::Given(error.to_string())
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Format(..) => Self::Given(error.to_string()),
            KeyError::Io(..) | KeyError::Exists(_) => Self::Machine(error.to_string()),
        }
    }
}

/// How this program is called that makes capsules, for examples of what to type next.
pub(crate) fn program() -> &'static str {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_stem();
    if name.is_some_and(|name| name == "capmesh") { "capmesh capsule" } else { "capmesh-capsule" }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::io(path, &error))
}

/// Writes a file and the folders above it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, &error))?;
    }
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, &error))
}

/// A number with its thousands apart.
fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0_u32, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
