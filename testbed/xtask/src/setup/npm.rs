//! What npm installs: the AssemblyScript compiler, and what the page of the gateway is built with.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::say;
use crate::{process::run, workspace};

/// What it is for, and the folder whose lock file names it.
const FOLDERS: [(&str, &str); 2] = [
    ("AssemblyScript", "protocols/capsule-abi/assemblyscript"),
    ("gateway's page", "gateway/dashboard"),
];

/// Installs what the lock files name, or installs it anew when one has changed.
pub(crate) fn install() -> Result<()> {
    FOLDERS.iter().try_for_each(|(what, folder)| install_into(what, folder))
}

fn install_into(what: &str, folder: &str) -> Result<()> {
    let path = workspace::root().join(folder);
    let wanted = fs::read_to_string(path.join("package-lock.json")).context(folder.to_owned())?;
    // Written last: an installation that was cut short does not count.
    let installed = path.join("node_modules/installed.json");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        say(what, &format!("there ({folder}/node_modules)"));
        return Ok(());
    }
    say(what, &format!("installing into {folder}/node_modules"));
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(&path))
    .with_context(|| format!("{what}: npm (of Node.js 20 or newer) cannot install it"))?;
    fs::write(installed, wanted).context("cannot note what was installed")
}
