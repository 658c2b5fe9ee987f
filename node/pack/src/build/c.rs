//! Capsules in C.

use super::Built;
use super::tool::{BuildError, Scratch, find, output, version};
use crate::module::Hints;
use std::path::{Path, PathBuf};
use std::process::Command;

const CLANG_ADVICE: &str = "install clang (on Debian `apt-get install clang`)";
const LINKER_ADVICE: &str = "install LLVM's linker (on Debian `apt-get install lld`)";

/// Compiler and linker.
struct Tools {
    clang: PathBuf,
    linker: PathBuf,
}

impl Tools {
    fn find() -> Result<Self, BuildError> {
        let missing = |program, advice| BuildError::Missing { program, advice };
        let clang = find(&["clang"]).ok_or(missing("clang", CLANG_ADVICE))?;
        // A linker reads the objects of compilers that are older than itself.
        let linkers = ["wasm-ld-22", "wasm-ld", "wasm-ld-19", "wasm-ld-16", "wasm-ld-14"];
        let linker = find(&linkers).ok_or(missing("wasm-ld", LINKER_ADVICE))?;
        Ok(Self { clang, linker })
    }

    fn describe(&self) -> Result<String, BuildError> {
        Ok(format!("{}, {}", version(&self.clang)?, version(&self.linker)?))
    }
}

pub(super) fn toolchain() -> Result<String, BuildError> {
    Tools::find()?.describe()
}

/// What every capsule includes.
const HEADER: &str = include_str!("../../../../protocols/capsule-abi/c/capmesh.h");

pub(super) fn build(folder: &Path, files: &[PathBuf], stack: u32) -> Result<Built, BuildError> {
    let tools = Tools::find()?;
    let scratch = Scratch::new()?;
    scratch.write("capmesh.h", HEADER)?;
    let mut objects = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let object = scratch.path().join(format!("{number}.o"));
        let mut clang = Command::new(&tools.clang);
        clang
            .args(["--target=wasm32", "-mbulk-memory", "-std=c11", "-Oz", "-flto"])
            .args(["-nostdlib", "-ffreestanding"])
            .args(["-Wall", "-Wextra", "-Werror=implicit-function-declaration"])
            .arg("-I")
            .arg(folder)
            .arg("-I")
            .arg(scratch.path());
        output(clang.arg("-c").arg(file).arg("-o").arg(&object), true)?;
        objects.push(object);
    }
    let path = scratch.path().join("capsule.wasm");
    let mut linker = Command::new(&tools.linker);
    linker
        .args(["--no-entry", "--stack-first", "--gc-sections", "--export=__heap_base"])
        .args(["-O2", "-z", &format!("stack-size={stack}"), "-o"])
        .arg(&path)
        .args(&objects);
    output(&mut linker, false)?;
    let module = std::fs::read(&path).map_err(|error| BuildError::Io(path.clone(), error))?;
    Ok(Built { module, hints: Hints::default(), toolchain: tools.describe()? })
}
