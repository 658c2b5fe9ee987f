//! `cargo xtask dashboard`: builds the page of the gateway, compares it with the one that is committed, and
//! looks at it in a browser.
//!
//! What the lock file names builds the same bytes on every machine, so that the comparison is exact.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    options,
    process::{find, run},
    steps::Done,
    workspace,
};

const HELP: &str = "\
Builds the page of the gateway (gateway/dashboard), compares it byte for byte with the one that is
committed in `dist`, and looks at that in headless Chromium. `cargo xtask setup` installs what it takes.

Usage: cargo xtask dashboard [--write]

  --write  write what was built over what is committed";

const FOLDER: &str = "gateway/dashboard";

/// What a build takes to be there.
const BUILDER: &str = "node_modules/vite/bin/vite.js";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    match options::write(args, HELP)? {
        None => Ok(()),
        Some(false) => check().map(drop),
        Some(true) => build(&folder().join("dist")),
    }
}

fn folder() -> PathBuf {
    workspace::root().join(FOLDER)
}

/// Builds, compares, and looks at it; skipped if there is no browser.
pub(crate) fn check() -> Result<Done> {
    let built = workspace::target().join("dashboard");
    build(&built)?;
    let (built, committed) = (files(&built)?, files(&folder().join("dist"))?);
    if built != committed {
        bail!("{FOLDER}/dist is not what its source builds: cargo xtask dashboard --write");
    }
    println!("  {} files are what their source builds", built.len());
    if chromium().is_none() {
        return Ok(Done::Skipped("it is what its source builds, and no Chromium is here".into()));
    }
    run(Command::new("node").arg("check/check.mjs").current_dir(folder()))?;
    Ok(Done::Passed)
}

/// A browser that can be looked through.
pub(crate) fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find)
}

/// Checks the types, and builds into `directory`.
fn build(directory: &Path) -> Result<()> {
    if !folder().join(BUILDER).exists() {
        bail!("{FOLDER}/{BUILDER} is missing: cargo xtask setup");
    }
    let node = |script: &str| {
        let mut command = Command::new("node");
        command.arg(script).current_dir(folder());
        command
    };
    run(&mut node("node_modules/typescript/bin/tsc")).context("the types")?;
    run(node(BUILDER)
        .args(["build", "--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(directory))
}

/// Every file below a directory.
fn files(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).with_context(|| path.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path)?;
                found.insert(path.strip_prefix(directory)?.to_owned(), bytes);
            }
        }
    }
    Ok(found)
}
