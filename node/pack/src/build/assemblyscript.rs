//! Capsules in AssemblyScript.

use super::Built;
use super::tool::{BuildError, Scratch, find, output, version};
use crate::module::{self, Hints};
use std::path::{Path, PathBuf};
use std::process::Command;

const ADVICE: &str =
    "run `npm install assemblyscript` in the capsule's folder, or install it for everybody";

/// The compiler of the capsule's folder, of one above it, or of the machine.
fn asc(folder: &Path) -> Result<PathBuf, BuildError> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let local = folder.ancestors().map(|above| above.join("node_modules/.bin/asc"));
    let missing = BuildError::Missing { program: "AssemblyScript compiler (asc)", advice: ADVICE };
    local.into_iter().find(|path| path.is_file()).or_else(|| find(&["asc"])).ok_or(missing)
}

pub(super) fn toolchain(folder: &Path) -> Result<String, BuildError> {
    Ok(format!("AssemblyScript {}", version(&asc(folder)?)?.trim_start_matches("Version ")))
}

pub(super) fn build(folder: &Path, entry: &Path) -> Result<Built, BuildError> {
    let asc = asc(folder)?;
    let scratch = Scratch::new()?;
    let compile = |name: &str, arguments: &[&str]| {
        let path = scratch.path().join(name);
        let mut command = Command::new(&asc);
        command
            .arg(entry)
            .args(["--runtime", "stub", "--noAssert", "--use", "abort="])
            .args(["--disable", "bulk-memory", "--initialMemory", "1"])
            .args(arguments)
            .arg("--outFile")
            .arg(&path);
        output(&mut command, true)?;
        std::fs::read(&path).map_err(|error| BuildError::Io(path.clone(), error))
    };
    let module = compile("capsule.wasm", &["-Oz", "--converge"])?;
    // Where the heap begins is known before anything is optimised, and forgotten after.
    let named = compile("named.wasm", &["--debug"])?;
    let heap_base = module::heap_base(&named).ok().flatten();
    let hints = Hints { heap_base, ..Hints::default() };
    Ok(Built { module, hints, toolchain: toolchain(folder)? })
}
