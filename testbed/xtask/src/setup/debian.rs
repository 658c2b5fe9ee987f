//! Debian packages by apt-get.

use std::process::Command;

use anyhow::Result;

use super::{Need, say};
use crate::process::{find, output, run, succeeds};

/// Installs what is not there. What cannot be installed is returned, a line each.
pub(crate) fn install(needs: &[Need]) -> Result<Vec<String>> {
    let mut absent = Vec::new();
    for need in needs {
        match (need.find)() {
            Some(place) => say(need.what, &format!("there ({})", place.display())),
            None => absent.push(need),
        }
    }
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let Some(apt) = AptGet::find() else {
        return Ok(absent.into_iter().map(advice).collect());
    };
    for need in &absent {
        say(need.what, &format!("installing {}", need.packages.join(" ")));
    }
    run(apt.command().args(["update", "--quiet=2"]))?;
    let (known, unknown): (Vec<&Need>, Vec<&Need>) =
        absent.into_iter().partition(|need| need.packages.iter().all(|name| is_known(name)));
    let packages: Vec<&str> = known.iter().flat_map(|need| need.packages).copied().collect();
    if !packages.is_empty() {
        apt.announce_removals(&packages)?;
        run(apt.install().arg("--quiet=2").args(&packages))?;
    }
    let still = known.into_iter().filter(|need| (need.find)().is_none());
    Ok(unknown.into_iter().chain(still).map(advice).collect())
}

fn advice(need: &Need) -> String {
    let packages = need.packages.join(" ");
    format!("{}: {} (Debian: apt-get install {packages})", need.what, need.elsewhere)
}

fn is_known(package: &str) -> bool {
    succeeds(Command::new("apt-cache").args(["show", package]))
}

/// `apt-get` with the right to install.
struct AptGet {
    sudo: bool,
}

impl AptGet {
    fn find() -> Option<Self> {
        find("apt-get")?;
        let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        let can_sudo = || succeeds(Command::new("sudo").args(["-n", "true"]));
        (is_root || can_sudo()).then_some(Self { sudo: !is_root })
    }

    fn command(&self) -> Command {
        let mut command = if self.sudo {
            let mut command = Command::new("sudo");
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        } else {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        command.arg("-o").arg("Dpkg::Use-Pty=0");
        command
    }

    fn install(&self) -> Command {
        let mut command = self.command();
        command.args(["install", "--yes", "--no-install-recommends"]);
        command
    }

    /// A package from another archive can stand in the way of one of ours: apt then removes it.
    fn announce_removals(&self, packages: &[&str]) -> Result<()> {
        let plan = output(self.install().arg("--simulate").args(packages))?;
        for line in plan.lines().filter_map(|line| line.strip_prefix("Remv ")) {
            say("in the way", &format!("apt removes {line}"));
        }
        Ok(())
    }
}
