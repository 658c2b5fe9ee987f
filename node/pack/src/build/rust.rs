//! Capsules in Rust.

use super::Built;
use super::tool::{BuildError, find, output};
use crate::module::Hints;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Targets that a capsule can be built for, the better one first: without what newer versions of
/// WebAssembly have and a node does not take.
const TARGETS: [&str; 2] = ["wasm32v1-none", "wasm32-unknown-unknown"];

const ADVICE: &str = "`rustup target add wasm32v1-none`, or on Debian \
                      `apt-get install rustc-web rust-web-src lld-22`";

/// Who compiles.
#[derive(Debug)]
enum Compiler {
    /// The toolchain in use has a target.
    Installed { target: &'static str },
    /// This one has the sources of its library, which is built as well.
    FromSource { rustc: PathBuf, linker: Option<PathBuf> },
}

impl Compiler {
    fn find(package: &Path) -> Result<Self, BuildError> {
        let missing = BuildError::Missing { program: "Rust compiler for wasm32", advice: ADVICE };
        let Some(sysroot) = sysroot(Path::new("rustc"), package) else { return Err(missing) };
        let libraries = sysroot.join("lib/rustlib");
        if let Some(target) = TARGETS.into_iter().find(|t| libraries.join(t).join("lib").is_dir()) {
            return Ok(Self::Installed { target });
        }
        let has_sources = |rustc: &PathBuf| {
            sysroot_of(rustc, package).join("lib/rustlib/src/rust/library/core").is_dir()
        };
        let rustc = ["rustc", "/usr/bin/rustc"].map(PathBuf::from).into_iter().find(has_sources);
        let linker = find(&["rust-lld", "ld.lld-22", "ld.lld", "wasm-ld"]);
        rustc.map(|rustc| Self::FromSource { rustc, linker }).ok_or(missing)
    }

    const fn target(&self) -> &'static str {
        match self {
            Self::Installed { target } => target,
            Self::FromSource { .. } => TARGETS[0],
        }
    }

    fn rustc(&self) -> &Path {
        match self {
            Self::Installed { .. } => Path::new("rustc"),
            Self::FromSource { rustc, .. } => rustc,
        }
    }

    /// Compiler and version in a line.
    fn describe(&self, package: &Path) -> Result<String, BuildError> {
        let mut rustc = Command::new(self.rustc());
        let version = output(rustc.current_dir(package).arg("--version"), false)?;
        let how = match self {
            Self::Installed { .. } => "",
            Self::FromSource { .. } => ", library from source",
        };
        Ok(format!("{} for {}{how}", version.trim(), self.target()))
    }
}

fn sysroot(rustc: &Path, package: &Path) -> Option<PathBuf> {
    // The package's folder decides which toolchain a `rustc` of rustup is.
    let mut command = Command::new(rustc);
    let path = output(command.current_dir(package).args(["--print", "sysroot"]), false).ok()?;
    Some(PathBuf::from(path.trim()))
}

fn sysroot_of(rustc: &Path, package: &Path) -> PathBuf {
    sysroot(rustc, package).unwrap_or_default()
}

pub(super) fn toolchain(package: &Path) -> Result<String, BuildError> {
    Compiler::find(package)?.describe(package)
}

pub(super) fn build(package: &Path, stack: u32) -> Result<Built, BuildError> {
    let io = |error| BuildError::Io(package.to_owned(), error);
    let package = package.canonicalize().map_err(io)?;
    let compiler = Compiler::find(&package)?;
    let toolchain = compiler.describe(&package)?;
    let manifest = package.join("Cargo.toml");
    let messages = output(&mut command(&compiler, &package, stack), true)?;
    let path = artifact(&messages, &manifest).ok_or(BuildError::NoModule(manifest))?;
    let module = std::fs::read(&path).map_err(|error| BuildError::Io(path, error))?;
    Ok(Built { module, hints: Hints::default(), toolchain })
}

fn command(compiler: &Compiler, package: &Path, stack: u32) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(package).args(["rustc", "--release", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--target", compiler.target(), "--message-format", "json-render-diagnostics"]);
    for setting in [
        "opt-level='z'",
        "lto=true",
        "codegen-units=1",
        "panic='abort'",
        "debug=false",
        "strip=false",
        "overflow-checks=false",
    ] {
        cargo.args(["--config", &format!("profile.release.{setting}")]);
    }
    // The same for every capsule, so that what they share is built once.
    let mut flags = vec![
        // What every node takes beyond the first version of WebAssembly, and makes code smaller.
        "-Ctarget-feature=+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals",
    ];
    if let Compiler::FromSource { rustc, linker } = compiler {
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        cargo.args(["-Z", "build-std=core,alloc", "-Z", "build-std-features=optimize_for_size"]);
        if let Some(linker) = linker {
            let target = compiler.target().to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
        }
        flags.extend(["-Zunstable-options", "-Cpanic=immediate-abort", "-Zlocation-detail=none"]);
    }
    // What the environment adds would make another module of it.
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let stack = format!("-zstack-size={stack}");
    cargo.arg("--");
    for argument in ["--no-entry", "--stack-first", "--export=__heap_base", stack.as_str()] {
        cargo.arg(format!("-Clink-arg={argument}"));
    }
    cargo
}

/// The module among what cargo says it wrote for the package with this manifest.
fn artifact(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut artifacts = messages.filter(|message| {
        message.get("reason").and_then(Value::as_str) == Some("compiler-artifact")
            && message.get("manifest_path").and_then(Value::as_str).map(Path::new) == Some(manifest)
    });
    artifacts.find_map(|message| {
        let files = message.get("filenames")?.as_array()?.iter().filter_map(Value::as_str);
        files.map(PathBuf::from).find(|file| file.extension().is_some_and(|ext| ext == "wasm"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_own_module_is_found_among_the_messages() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/sdk/Cargo.toml","filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/mine/Cargo.toml","filenames":["/t/mine.d","/t/mine.wasm"]}
{"reason":"build-finished","success":true}
not json"#;
        let found = |manifest: &str| artifact(messages, Path::new(manifest));
        assert_eq!(found("/mine/Cargo.toml"), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(found("/sdk/Cargo.toml"), None);
    }

    #[test]
    fn the_environment_cannot_change_the_flags() {
        let compiler = Compiler::Installed { target: TARGETS[0] };
        let command = command(&compiler, Path::new("/p"), 2_048);
        let variables: Vec<_> = command.get_envs().collect();
        assert!(variables.iter().any(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS"));
        assert!(command.get_args().any(|argument| argument == "-Clink-arg=-zstack-size=2048"));
        assert!(variables.iter().any(|(name, value)| *name == "RUSTFLAGS" && value.is_none()));
        assert!(!variables.iter().any(|(name, _)| *name == "RUSTC_BOOTSTRAP"));
    }
}
