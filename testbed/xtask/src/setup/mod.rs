//! `cargo xtask setup`: installs what building and testing needs and is not there yet.

mod debian;
mod npm;
mod python;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{cross, dashboard, options, process};

const HELP: &str = "\
Installs what building and testing needs and is not there yet; says what it finds and does.
Running it again changes nothing.

Usage: cargo xtask setup

  Debian packages   a way to build for microcontrollers (unless the Rust toolchain has the
                    targets), QEMU, libcoap's client and server, skopeo, Mosquitto, libclang, Chromium,
                    Node.js, compilers for capsules in C; as root or by sudo
  .capmesh/venv     a Python environment with aiocoap, of testbed/interop/requirements.txt
  AssemblyScript    its compiler, beside the package for capsules, by npm
  gateway's page    what it is built with and looked at by, beside its source, by npm
  .capmesh/tools    cargo-nextest and cargo-deny, unless they are in PATH

Without apt-get, or without the right to use it, it names what is missing and how to get it.";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { run() } else { Ok(()) }
}

/// Installs everything that is missing; fails naming what it could not install.
pub(crate) fn run() -> Result<()> {
    let mut missing = debian::install(NEEDS)?;
    for install in [python::install, tools::install, npm::install] {
        if let Err(error) = install() {
            missing.push(format!("{error:#}"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing:\n  {}", missing.join("\n  "));
}

/// Something a machine must have that this project does not build itself.
pub(crate) struct Need {
    what: &'static str,
    /// Where it was found.
    find: fn() -> Option<PathBuf>,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// How to get it elsewhere.
    elsewhere: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        what: "C compiler",
        find: || process::find("cc"),
        packages: &["build-essential"],
        elsewhere: "install a C compiler named `cc`",
    },
    Need {
        what: "microcontroller targets",
        find: cross::available,
        packages: &["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"],
        elsewhere: cross::ADVICE,
    },
    Need {
        what: "emulated boards",
        find: || process::find("qemu-system-arm"),
        packages: &["qemu-system-arm"],
        elsewhere: "install QEMU's Arm system emulator (qemu-system-arm)",
    },
    Need {
        what: "libcoap",
        find: || ["coap-client-notls", "coap-client"].into_iter().find_map(process::find),
        packages: &["libcoap3-bin"],
        elsewhere: "install libcoap's examples (coap-client, coap-server)",
    },
    Need {
        what: "Mosquitto",
        find: || process::find("mosquitto").and(process::find("mosquitto_sub")),
        packages: &["mosquitto", "mosquitto-clients"],
        elsewhere: "install Eclipse Mosquitto with its clients (mosquitto, mosquitto_sub)",
    },
    Need {
        what: "skopeo",
        find: || process::find("skopeo"),
        packages: &["skopeo"],
        elsewhere: "install skopeo, which copies OCI images",
    },
    Need {
        what: "libclang",
        find: libclang,
        packages: &["clang", "libclang-dev"],
        elsewhere: "install clang with libclang, and set LIBCLANG_PATH if it is in an unusual place",
    },
    Need {
        what: "clang for WebAssembly",
        find: || {
            process::find("clang")?;
            ["wasm-ld-22", "wasm-ld"].into_iter().find_map(process::find)
        },
        packages: &["clang", "lld-22"],
        elsewhere: "install clang and lld with their WebAssembly parts (clang, wasm-ld)",
    },
    Need {
        what: "Node.js",
        find: || process::find("npm").and(process::find("node")),
        packages: &["nodejs", "npm"],
        elsewhere: "install Node.js 20 or newer with npm",
    },
    Need {
        what: "Chromium",
        find: dashboard::chromium,
        packages: &["chromium"],
        elsewhere: "install Chromium, which the gateway's page is looked at in",
    },
    Need {
        what: "Python environments",
        find: python::interpreter,
        packages: &["python3-venv"],
        elsewhere: "install Python 3.10 or newer with its venv module",
    },
];

fn libclang() -> Option<PathBuf> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from).filter(|path| path.exists());
    let versions = Path::new("/usr/lib").read_dir().ok()?.flatten();
    let debian = versions.map(|entry| entry.path().join("lib")).filter(|lib| {
        lib.to_string_lossy().starts_with("/usr/lib/llvm-") && lib.join("libclang.so").exists()
    });
    let plain = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    let plain = plain.into_iter().filter(|lib| lib.join("libclang.so").exists());
    named.into_iter().chain(debian).chain(plain).next()
}

/// One line of what a part of the set-up found or does.
pub(crate) fn say(what: &str, finding: &str) {
    eprintln!("  {what:<24} {finding}");
}
