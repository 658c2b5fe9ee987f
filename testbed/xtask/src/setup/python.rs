//! The Python environment of the outside peers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::say;
use crate::{
    process::{find, run, succeeds},
    workspace,
};

const REQUIREMENTS: &str = "testbed/interop/requirements.txt";

/// A Python that can make environments.
pub(crate) fn interpreter() -> Option<PathBuf> {
    let candidates = [find("python3"), Some(PathBuf::from("/usr/bin/python3"))];
    candidates.into_iter().flatten().find(|python| {
        succeeds(
            Command::new(python)
                .args(["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"]),
        )
    })
}

/// Makes the environment, or makes it anew when the requirements have changed.
pub(crate) fn install() -> Result<()> {
    let requirements = workspace::root().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements).context(REQUIREMENTS)?;
    let venv = workspace::private().join("venv");
    // Written last: an installation that was cut short does not count.
    let installed = venv.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        say("aiocoap", &format!("there ({})", venv.display()));
        return Ok(());
    }
    say("aiocoap", &format!("installing {REQUIREMENTS} into {}", venv.display()));
    let python = interpreter().context("aiocoap: no Python that can make environments")?;
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(pip(&venv, "install").arg("--requirement").arg(&requirements))?;
    unpack_source(&venv, &wanted)?;
    fs::write(installed, wanted).context("cannot note what was installed")
}

/// aiocoap's OSCORE plug test is in its source distribution only.
fn unpack_source(venv: &Path, requirements: &str) -> Result<()> {
    let version = pinned(requirements, "aiocoap").context("aiocoap is not in the requirements")?;
    let folder = workspace::private().join("aiocoap-src");
    if folder.join(format!("aiocoap-{version}")).is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(pip(venv, "download")
        .args(["--no-binary", "aiocoap", "--dest"])
        .arg(&folder)
        .arg(format!("aiocoap=={version}")))?;
    let archive = folder.join(format!("aiocoap-{version}.tar.gz"));
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder))
}

fn pip(venv: &Path, verb: &str) -> Command {
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip
}

/// The version in a line `name==version`.
fn pinned<'a>(requirements: &'a str, name: &str) -> Option<&'a str> {
    requirements.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("==")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_version_is_that_of_the_whole_name() {
        let requirements = "# cbor==9\ncbor-diag==1.2.0\ncbor==6.2.1\n";
        assert_eq!(pinned(requirements, "cbor"), Some("6.2.1"));
        assert_eq!(pinned(requirements, "cb"), None);
    }
}
