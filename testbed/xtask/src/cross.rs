//! Building for microcontrollers with whatever this machine has.
//!
//! A Rust toolchain with the target installed is used as it is. Where there is none, a compiler
//! with the sources of its library builds `core` and `alloc` too: `rust-src` of the toolchain in
//! use, or Debian's `rustc-web` with `rust-web-src`.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    features, options,
    process::{find, output, run},
    workspace::{self, Package},
};

const HELP: &str = "\
Builds every protocol crate, and the node core, without std for each microcontroller target:
once with no features and once with all of them.

Usage: cargo xtask cross";

/// Cortex-M3, Cortex-M4 and the RISC-V boards.
pub(crate) const TARGETS: &[&str] =
    &["thumbv7m-none-eabi", "thumbv7em-none-eabi", "riscv32imac-unknown-none-elf"];

/// What a person can do who has no compiler for the targets.
pub(crate) const ADVICE: &str = "rustup target add thumbv7m-none-eabi thumbv7em-none-eabi \
                                 riscv32imac-unknown-none-elf";

/// A compiler for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// The toolchain in use has the target.
    Installed { sysroot: PathBuf },
    /// The library is built as well.
    FromSource { rustc: PathBuf, linker: PathBuf },
}

impl Compiler {
    /// Finds a compiler for the target.
    pub(crate) fn find(target: &str) -> Option<Self> {
        let sysroot = sysroot(Path::new("rustc"))?;
        if sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
            return Some(Self::Installed { sysroot });
        }
        let linker = ["rust-lld", "ld.lld-22", "ld.lld"].into_iter().find_map(find)?;
        let rustc = ["rustc", "/usr/bin/rustc"].into_iter().map(PathBuf::from).find(|rustc| {
            self::sysroot(rustc)
                .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
        })?;
        Some(Self::FromSource { rustc, linker })
    }

    /// `cargo` with the verb and all that makes it build for the target, in a folder of its own so
    /// that builds for the host stay valid.
    pub(crate) fn cargo(&self, verb: &str, target: &str) -> Command {
        let mut cargo = workspace::cargo();
        cargo.args([verb, "--target", target]);
        cargo.arg("--target-dir").arg(workspace::target().join("cross"));
        if let Self::FromSource { rustc, linker } = self {
            let variable = target.to_uppercase().replace('-', "_");
            cargo
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env(format!("CARGO_TARGET_{variable}_LINKER"), linker)
                .args(["-Z", "build-std=core,alloc"]);
        }
        cargo
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { sysroot } => write!(f, "installed target of {}", sysroot.display()),
            Self::FromSource { rustc, linker } => write!(
                f,
                "{} with its library built from source, linker {}",
                rustc.display(),
                linker.display()
            ),
        }
    }
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    // The workspace's root decides which toolchain a `rustc` of rustup is.
    let mut command = Command::new(rustc);
    command.current_dir(workspace::root()).args(["--print", "sysroot"]).env_remove("RUSTC");
    (rustc.is_file() || rustc.components().count() == 1)
        .then(|| output(&mut command).ok())?
        .map(|path| PathBuf::from(path.trim()))
}

/// The place of the compiler, if all targets have one.
pub(crate) fn available() -> Option<PathBuf> {
    let compilers: Option<Vec<Compiler>> =
        TARGETS.iter().map(|target| Compiler::find(target)).collect();
    compilers?.pop().map(|compiler| match compiler {
        Compiler::Installed { sysroot } => sysroot,
        Compiler::FromSource { rustc, .. } => rustc,
    })
}

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { build_all() } else { Ok(()) }
}

/// Builds every core for every target, without features and with all of them.
pub(crate) fn build_all() -> Result<()> {
    let packages = workspace::packages()?;
    let cores: Vec<&Package> = packages.values().filter(|package| package.is_core()).collect();
    for target in TARGETS {
        let compiler = Compiler::find(target)
            .with_context(|| format!("no compiler for {target}: cargo xtask setup, or {ADVICE}"))?;
        eprintln!("{target}: {compiler}");
        for with_features in [false, true] {
            let mut cargo = compiler.cargo("build", target);
            cargo.args(["--quiet", "--locked", "--profile", "cross", "--no-default-features"]);
            for core in &cores {
                cargo.args(["--package", &core.name]);
                if with_features {
                    features::enable_all(&mut cargo, core);
                }
            }
            run(&mut cargo)?;
        }
    }
    Ok(())
}
