//! Capsules in AssemblyScript.

use super::Built;
use super::tool::{BuildError, Scratch, find, output, version};
use crate::module::Hints;
use std::path::{Path, PathBuf};
use std::process::Command;

const ADVICE: &str =
    "run `npm install assemblyscript` in the capsule's folder, or install it for everybody";

/// The package that every capsule imports, and where it lies in the folder for packages.
const PACKAGE: [(&str, &str); 3] = [
    (
        "capmesh/index.ts",
        include_str!("../../../../protocols/capsule-abi/assemblyscript/capmesh/index.ts"),
    ),
    (HEAP, include_str!("../../../../protocols/capsule-abi/assemblyscript/capmesh/heap.ts")),
    (
        "capmesh/package.json",
        include_str!("../../../../protocols/capsule-abi/assemblyscript/capmesh/package.json"),
    ),
];

/// The part of it that is compiled along: it says where static data ends.
const HEAP: &str = "capmesh/heap.ts";

/// Where a folder, or one above it, may have the compiler: its own, or this project's.
const PLACES: [&str; 2] =
    ["node_modules/.bin/asc", "protocols/capsule-abi/assemblyscript/node_modules/.bin/asc"];

/// The compiler of the capsule's folder, of one above it, or of the machine.
fn asc(folder: &Path) -> Result<PathBuf, BuildError> {
    let missing = BuildError::Missing { program: "AssemblyScript compiler (asc)", advice: ADVICE };
    let local = folder.ancestors().flat_map(|above| PLACES.map(|place| above.join(place)));
    local.into_iter().find(|path| path.is_file()).or_else(|| find(&["asc"])).ok_or(missing)
}

fn absolute(folder: &Path) -> Result<PathBuf, BuildError> {
    folder.canonicalize().map_err(|error| BuildError::Io(folder.to_owned(), error))
}

pub(super) fn toolchain(folder: &Path) -> Result<String, BuildError> {
    let version = version(&asc(&absolute(folder)?)?)?;
    Ok(format!("AssemblyScript {}", version.trim_start_matches("Version ")))
}

pub(super) fn build(folder: &Path, files: &[PathBuf]) -> Result<Built, BuildError> {
    let folder = absolute(folder)?;
    let asc = asc(&folder)?;
    let scratch = Scratch::new()?;
    for (name, text) in PACKAGE {
        scratch.write(name, text)?;
    }
    let path = scratch.path().join("capsule.wasm");
    let mut command = Command::new(&asc);
    command.current_dir(&folder);
    for file in files {
        command.arg(file.canonicalize().map_err(|error| BuildError::Io(file.clone(), error))?);
    }
    command
        .arg(scratch.path().join(HEAP))
        .arg("--path")
        .arg(scratch.path())
        .args(["--runtime", "stub", "--noAssert", "--use", "abort=", "-Oz", "--converge"])
        .arg("--outFile")
        .arg(&path);
    output(&mut command, true)?;
    let module = std::fs::read(&path).map_err(|error| BuildError::Io(path.clone(), error))?;
    Ok(Built { module, hints: Hints::default(), toolchain: toolchain(&folder)? })
}
