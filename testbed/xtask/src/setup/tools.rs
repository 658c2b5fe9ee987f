//! Cargo's helpers, built from source at fixed versions.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::say;
use crate::{
    process::{find, run},
    workspace,
};

struct Tool {
    name: &'static str,
    version: &'static str,
    /// Features to leave out and profile to use: none of these has to be fast.
    options: &'static [&'static str],
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "cargo-nextest",
        version: "0.9.143",
        options: &["--no-default-features", "--features=default-no-update"],
    },
    Tool { name: "cargo-deny", version: "0.20.2", options: &[] },
];

/// Builds the tools that are neither in `PATH` nor in the project's own folder.
pub(crate) fn install() -> Result<()> {
    for tool in TOOLS {
        if let Some(place) = place(tool.name) {
            say(tool.name, &format!("there ({})", place.display()));
            continue;
        }
        let folder = workspace::private().join("tools");
        say(tool.name, &format!("building {} into {}", tool.version, folder.display()));
        // Unoptimised it builds in a third of the time, and it does not have much to do.
        run(workspace::cargo()
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["install", "--quiet", "--locked", "--profile", "dev"])
            .args(["--version", tool.version])
            .args(tool.options)
            .arg("--root")
            .arg(&folder)
            .arg(tool.name))
        .with_context(|| format!("cannot build {}", tool.name))?;
    }
    Ok(())
}

fn place(tool: &str) -> Option<PathBuf> {
    let own = workspace::tools().join(tool);
    own.is_file().then_some(own).or_else(|| find(tool))
}
