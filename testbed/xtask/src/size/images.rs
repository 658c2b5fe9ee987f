//! The images: where each is, how it is built, and what its figures are compared with.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{elf::Image, figures::Figures};
use crate::{
    cross::Compiler,
    process::{output, run},
    workspace,
};

pub(super) const TARGET: &str = "thumbv7m-none-eabi";

/// A firmware image that is measured.
pub(super) struct Footprint {
    /// Its section of the ceilings, and what it is called on the command line.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The folder of its package.
    package: &'static str,
    /// The program in the package.
    program: &'static str,
    features: &'static [&'static str],
    /// The program that is an image without what is measured, to be taken off.
    pub(super) base: Option<&'static str>,
    /// Steps whose stack counts as that of the image; all if there are none.
    deepest: &'static [&'static str],
    /// Whether its library is built for size too, and nothing in it says where a panic was.
    is_lean: bool,
}

pub(super) const ALL: &[Footprint] = &[
    Footprint {
        name: "protocols",
        about: "EDHOC, OSCORE and CoAP in both roles, and no more",
        package: "testbed/footprint",
        program: "protocols",
        features: &[],
        base: Some("empty"),
        deepest: &["_get.client.stack", "_get.server.stack"],
        is_lean: false,
    },
    Footprint {
        name: "full",
        about: "the same with everything that they are capable of",
        package: "testbed/footprint",
        program: "protocols",
        features: &["full"],
        base: Some("empty"),
        deepest: &["_get.client.stack", "_get.server.stack"],
        is_lean: false,
    },
    Footprint {
        name: "runtime",
        about: "the capsule runtime, which validates what it admits",
        package: "testbed/node-footprint",
        program: "runtime",
        features: &["validate"],
        base: None,
        deepest: &[],
        is_lean: true,
    },
    Footprint {
        name: "node",
        about: "two nodes and a gateway: install, run, move",
        package: "testbed/node-footprint",
        program: "node",
        features: &["validate"],
        base: None,
        deepest: &[],
        is_lean: true,
    },
    Footprint {
        name: "runtime-unvalidated",
        about: "the capsule runtime without its validator, to see what that costs",
        package: "testbed/node-footprint",
        program: "runtime",
        features: &[],
        base: None,
        deepest: &[],
        is_lean: true,
    },
];

/// AES with half the code, at a tenth more time for a message.
const COMPACT_AES: &str = "--cfg aes_compact";
/// A panic stops at once. Only a library that is built from source can be told.
const NO_PANIC_MESSAGES: &str = "-Zunstable-options -Cpanic=immediate-abort";
/// Nor does anything else print what it is, or where.
const LEAN: &str = "-Zlocation-detail=none -Zfmt-debug=none";
/// Equal ends of a match's arms become one, however many arms there are: by default a match of more than
/// 150 is left as it is, and the interpreter's have a thousand.
const MERGED_ARMS: &str = "-Cllvm-args=-tail-merge-threshold=5000";
/// Equal sequences become functions wherever that saves so many bytes. By default, wherever it saves one, but
/// only in what is built at "z", which the interpreter is not; and to the interpreter's loop that would cost an
/// eighth of its speed.
const OUTLINED: &str =
    "-Cllvm-args=-enable-machine-outliner=always -Cllvm-args=-outliner-benefit-threshold=32";

impl Footprint {
    /// Builds the package with the image's features, and the image that it is compared with.
    pub(super) fn build(&self, compiler: &Compiler) -> Result<()> {
        let mut cargo = compiler.cargo("build", TARGET);
        cargo.current_dir(workspace::root().join(self.package));
        cargo.args(["--quiet", "--locked", "--release", "--no-default-features"]);
        for program in std::iter::once(self.program).chain(self.base) {
            cargo.args(["--bin", program]);
        }
        if !self.features.is_empty() {
            cargo.args(["--features", &self.features.join(",")]);
        }
        let mut flags = vec![COMPACT_AES, MERGED_ARMS];
        if self.is_lean {
            flags.push(OUTLINED);
        }
        if matches!(compiler, Compiler::FromSource { .. }) {
            flags.push(NO_PANIC_MESSAGES);
            if self.is_lean {
                flags.push(LEAN);
                cargo.arg("-Zbuild-std-features=optimize_for_size");
            }
        }
        run(cargo.env("RUSTFLAGS", flags.join(" ")))
    }

    /// Reads one of the programs that [`Footprint::build`] has built.
    pub(super) fn read(&self, program: &str) -> Result<Image> {
        let path = built(program);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Image::read(&bytes).with_context(|| path.display().to_string())
    }

    /// The image itself.
    pub(super) fn image(&self) -> Result<Image> {
        self.read(self.program)
    }

    /// Runs the image until it ends, and returns what it reported.
    pub(super) fn emulate(&self) -> Result<Figures> {
        if let Some(base) = self.base {
            emulate(base)?;
        }
        emulate(self.program)
    }

    /// The deepest stack of the steps that count.
    pub(super) fn stack(&self, figures: &Figures) -> u64 {
        let suffixes = if self.deepest.is_empty() { &[".stack"] } else { self.deepest };
        suffixes.iter().map(|suffix| figures.highest(suffix)).max().unwrap_or(0)
    }
}

fn built(program: &str) -> PathBuf {
    workspace::target().join("cross").join(TARGET).join("release").join(program)
}

fn emulate(program: &str) -> Result<Figures> {
    let image = built(program);
    let text = output(
        Command::new("qemu-system-arm")
            .args(["-M", "mps2-an385", "-icount", "shift=4"])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            .args(["-chardev", "stdio,id=host"])
            .args(["-semihosting-config", "enable=on,target=native,chardev=host"])
            .arg("-kernel")
            .arg(&image),
    )
    .with_context(|| format!("{} on the emulated board", image.display()))?;
    Figures::parse(&text)
}
