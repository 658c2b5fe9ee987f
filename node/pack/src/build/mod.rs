//! From source to module, with the compilers that this machine has.
//!
//! | language | compiler | how it is found |
//! |---|---|---|
//! | Rust | the toolchain in use, if it has a wasm32 target; else a compiler with the sources of its library, such as Debian's `rustc-web` with `rust-web-src` | `rustc`, `/usr/bin/rustc` |
//! | C | clang and LLVM's linker for wasm | `clang`; `wasm-ld`, `wasm-ld-22` and other versions |
//! | AssemblyScript | `asc` | `node_modules/.bin` of the capsule's folder and those above it, `PATH` |
//! | prebuilt | none | |
//!
//! C and AssemblyScript also get what is made of the description (`capsule.h`, `capsule.ts`), beside
//! it, and the contract's header or package, which this crate carries.
//!
//! Every compiler is asked for the smallest code. Two machines with the same compiler build the same
//! bytes; [`Built::toolchain`] says which compiler it was.

mod assemblyscript;
mod c;
mod rust;
mod tool;

pub use tool::BuildError;

use crate::module::Hints;
use capmesh_description::{Description, Source};
use std::path::Path;

/// Bytes of stack in linear memory, if the author does not say.
pub const STACK: u32 = 1_024;

/// A module as its compiler wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The module.
    pub module: Vec<u8>,
    /// What packing it should know.
    pub hints: Hints,
    /// The compiler and its version.
    pub toolchain: String,
}

/// Builds what a description says.
///
/// # Errors
/// If a compiler is missing, with what to install, or fails, with what it said.
pub fn build(description: &Description) -> Result<Built, BuildError> {
    if let Some((path, text)) = description.generated() {
        refresh(&path, &text)?;
    }
    let stack = description.needs.stack.unwrap_or(STACK);
    let mut built = match &description.source {
        Source::Rust(package) => rust::build(package, stack)?,
        Source::C(files) => c::build(folder(description), files, stack)?,
        Source::AssemblyScript(files) => assemblyscript::build(folder(description), files)?,
        Source::Prebuilt(path) => {
            let module =
                std::fs::read(path).map_err(|error| BuildError::Io(path.clone(), error))?;
            Built { module, hints: Hints::default(), toolchain: "prebuilt".into() }
        }
    };
    built.hints.memory = description.needs.memory;
    Ok(built)
}

/// Writes what is made of the description, unless it is there: editors watch it.
fn refresh(path: &Path, text: &str) -> Result<(), BuildError> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(|error| BuildError::Io(path.to_owned(), error))
}

/// The compiler that [`build`] would use for a description.
///
/// # Errors
/// If there is none, with what to install.
pub fn toolchain(description: &Description) -> Result<String, BuildError> {
    match &description.source {
        Source::Rust(package) => rust::toolchain(package),
        Source::C(_) => c::toolchain(),
        Source::AssemblyScript(_) => assemblyscript::toolchain(folder(description)),
        Source::Prebuilt(_) => Ok("prebuilt".into()),
    }
}

fn folder(description: &Description) -> &Path {
    match description.path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
