//! Other programs: finding them, running them, and saying what to do when one is missing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why nothing was built.
#[derive(Debug)]
pub enum BuildError {
    /// A program is missing; what it is for and how to get it.
    Missing {
        /// The program.
        program: &'static str,
        /// How to get it.
        advice: &'static str,
    },
    /// A program failed; what it was asked, and what it said that has not been shown yet.
    Failed {
        /// The program with its arguments.
        command: String,
        /// Its standard error.
        said: String,
    },
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The compiler wrote no module.
    NoModule(PathBuf),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program, advice } => write!(f, "there is no {program}; {advice}"),
            Self::Failed { command, said } => {
                write!(f, "`{command}` failed")?;
                if said.is_empty() { Ok(()) } else { write!(f, ":\n{}", said.trim_end()) }
            }
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoModule(path) => {
                write!(f, "{}: the compiler wrote no module for it", path.display())
            }
        }
    }
}

impl std::error::Error for BuildError {}

/// The first of these programs in `PATH`.
pub(super) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file())
    })
}

/// Runs a program and returns what it printed. What it says on its standard error is shown as it
/// comes, if `is_shown`, and else in the error.
pub(super) fn output(command: &mut Command, is_shown: bool) -> Result<String, BuildError> {
    let stderr = if is_shown { Stdio::inherit() } else { Stdio::piped() };
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).output();
    let output = output.map_err(|error| BuildError::Io(command.get_program().into(), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BuildError::Failed { command: shown(command), said })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The first line that a program prints about its version.
pub(super) fn version(program: &Path) -> Result<String, BuildError> {
    let text = output(Command::new(program).arg("--version"), false)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// A folder for one build's files, removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, BuildError> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("capmesh-capsule-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| BuildError::Io(path.clone(), error))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), BuildError> {
        let path = self.0.join(name);
        let folder = path.parent().unwrap_or(&self.0);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| BuildError::Io(path, error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in the folder for that.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
