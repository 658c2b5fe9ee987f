//! The AssemblyScript compiler.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::say;
use crate::{process::run, workspace};

const FOLDER: &str = "protocols/capsule-abi/assemblyscript";

/// Installs what the lock file names, or installs it anew when that has changed.
pub(crate) fn install() -> Result<()> {
    let folder = workspace::root().join(FOLDER);
    let wanted = fs::read_to_string(folder.join("package-lock.json")).context(FOLDER)?;
    // Written last: an installation that was cut short does not count.
    let installed = folder.join("node_modules/installed.json");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        say("AssemblyScript", &format!("there ({FOLDER}/node_modules)"));
        return Ok(());
    }
    say("AssemblyScript", &format!("installing into {FOLDER}/node_modules"));
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(&folder))
    .context("AssemblyScript: npm (of Node.js 20 or newer) cannot install it")?;
    fs::write(installed, wanted).context("cannot note what was installed")
}
