//! `cargo xtask size`: what the protocols cost on a Cortex-M3.

mod ceilings;
mod elf;
mod figures;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    cross::{ADVICE, Compiler},
    options,
    process::{output, run},
    workspace,
};
use elf::{Image, MEASURING};
use figures::Figures;

const HELP: &str = "\
Builds the firmware footprint images (testbed/footprint) for thumbv7m-none-eabi, runs them on an
emulated board, prints what the protocols cost, and fails if that is more than
testbed/xtask/sizes.toml allows: once with EDHOC, OSCORE and CoAP in both roles and no more, once
with everything that these are capable of.

Usage: cargo xtask size

  flash         bytes of code and constants over an image without protocols, and who they belong to
  stack         bytes that a step needs below its caller's frame
  instructions  of a step, as counted by the emulator; they repeat to a few";

const TARGET: &str = "thumbv7m-none-eabi";
const CEILINGS: &str = "testbed/xtask/sizes.toml";
/// What is measured: its table in the ceilings, and the features that the protocols have in it.
const IMAGES: [(&str, &str); 2] = [("protocols", ""), ("full", "full")];
/// AES with half the code, at a tenth more time for a message.
const COMPACT_AES: &str = "--cfg aes_compact";
/// A panic stops at once. Only a library that is built from source can be told.
const NO_PANIC_MESSAGES: &str = "-Zunstable-options -Cpanic=immediate-abort";
/// Crates with less flash than this are shown as one line.
const SMALL: u64 = 512;

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    if options::none(args, HELP)? { run_all() } else { Ok(()) }
}

/// Measures, prints and compares.
pub(crate) fn run_all() -> Result<()> {
    let text = fs::read_to_string(workspace::root().join(CEILINGS)).context(CEILINGS)?;
    let mut over = Vec::new();
    for (image, features) in IMAGES {
        let figures = measure(image, features)?;
        println!("\nCeilings of {CEILINGS}, [{image}]");
        over.extend(ceilings::compare(&ceilings::parse(&text, image)?, &figures)?);
    }
    if !over.is_empty() {
        bail!("over the ceiling: {}", over.join(", "));
    }
    Ok(())
}

/// Builds an image with these features, runs it, and prints and returns its figures.
fn measure(image: &str, features: &str) -> Result<Figures> {
    let folder = build(features)?;
    let read = |name: &str| -> Result<Image> {
        let bytes = fs::read(folder.join(name)).with_context(|| format!("image {name}"))?;
        Image::read(&bytes).with_context(|| format!("image {name}"))
    };
    let (empty, full) = (read("empty")?, read("protocols")?);
    println!("\n[{image}]");
    print_flash(&empty, &full);

    emulate(&folder.join("empty"))?;
    let mut figures = emulate(&folder.join("protocols"))?;
    println!("\nOn the emulated board");
    figures.print();
    figures.insert("flash", full.flash().saturating_sub(empty.flash()));
    figures.insert(
        "stack",
        figures.highest("_get.client.stack").max(figures.highest("_get.server.stack")),
    );
    Ok(figures)
}

/// Builds the images; returns the folder they are in.
fn build(features: &str) -> Result<PathBuf> {
    let compiler = Compiler::find(TARGET)
        .with_context(|| format!("no compiler for {TARGET}: cargo xtask setup, or {ADVICE}"))?;
    eprintln!("{TARGET}: {compiler}");
    let mut flags = vec![COMPACT_AES];
    if let Compiler::FromSource { .. } = compiler {
        flags.push(NO_PANIC_MESSAGES);
    }
    run(compiler
        .cargo("build", TARGET)
        .current_dir(workspace::root().join("testbed/footprint"))
        .env("RUSTFLAGS", flags.join(" "))
        .args(["--quiet", "--locked", "--release", "--features", features]))?;
    Ok(workspace::target().join("cross").join(TARGET).join("release"))
}

fn print_flash(empty: &Image, full: &Image) {
    let flash = full.flash().saturating_sub(empty.flash());
    println!("Flash: {} - {} (empty image) = {flash} bytes, of which", full.flash(), empty.flash());
    let before = empty.by_crate();
    let mut grown: Vec<(String, u64)> = full
        .by_crate()
        .into_iter()
        .filter(|(name, _)| name != MEASURING)
        .map(|(name, bytes)| {
            let grown = bytes.saturating_sub(before.get(&name).copied().unwrap_or(0));
            (name, grown)
        })
        .collect();
    grown.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let (large, small): (Vec<_>, Vec<_>) =
        grown.into_iter().partition(|(_, bytes)| *bytes >= SMALL);
    for (name, bytes) in &large {
        println!("  {bytes:>7}  {name}");
    }
    let rest: u64 = small.iter().map(|(_, bytes)| bytes).sum();
    println!("  {rest:>7}  {} others", small.len());
    println!("  Code that was inlined counts for the crate it was inlined into.");
}

/// Runs an image until it ends, and returns what it reported.
fn emulate(image: &PathBuf) -> Result<Figures> {
    let text = output(
        Command::new("qemu-system-arm")
            .args(["-M", "mps2-an385", "-icount", "shift=4"])
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            .args(["-chardev", "stdio,id=host"])
            .args(["-semihosting-config", "enable=on,target=native,chardev=host"])
            .arg("-kernel")
            .arg(image),
    )
    .with_context(|| format!("{} on the emulated board", image.display()))?;
    Figures::parse(&text)
}
