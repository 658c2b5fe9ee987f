//! `cargo xtask size`: what the protocols, the capsule runtime and a node cost on a Cortex-M3.

mod ceilings;
mod elf;
mod figures;
mod images;

use std::fs;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};

use crate::{
    cross::{ADVICE, Compiler},
    workspace,
};
use ceilings::Ceiling;
use elf::{Image, MEASURING};
use images::{ALL, Footprint, TARGET};

const HELP: &str = "\
Builds firmware images for thumbv7m-none-eabi (testbed/footprint, testbed/node-footprint), runs them
on an emulated board, prints what they cost, and fails if that is more than
testbed/xtask/sizes.toml allows.

Usage: cargo xtask size [image]...

  flash         bytes of code and constants, and who they belong to; of the protocols, over an image
                without them
  stack         bytes that a step needs below its caller's frame
  heap          bytes that a step leaves allocated; heap_peak: the most meanwhile
  instructions  of a step, as counted by the emulator; they repeat to a few

Images:";

const CEILINGS: &str = "testbed/xtask/sizes.toml";
/// Crates with less flash than this are shown as one line.
const SMALL: u64 = 512;

pub(crate) fn main(mut args: lexopt::Parser) -> Result<()> {
    let mut chosen = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                println!("{HELP}");
                ALL.iter().for_each(|image| println!("  {:<20} {}", image.name, image.about));
                return Ok(());
            }
            Arg::Value(name) => {
                let name = name.string()?;
                let image = ALL.iter().find(|image| image.name == name);
                chosen
                    .push(image.with_context(|| format!("there is no image {name}; see --help"))?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if chosen.is_empty() { run_all() } else { run(&chosen) }
}

/// Measures all images, prints and compares.
pub(crate) fn run_all() -> Result<()> {
    run(&ALL.iter().collect::<Vec<_>>())
}

fn run(images: &[&Footprint]) -> Result<()> {
    let compiler = Compiler::find(TARGET)
        .with_context(|| format!("no compiler for {TARGET}: cargo xtask setup, or {ADVICE}"))?;
    eprintln!("{TARGET}: {compiler}");
    let text = fs::read_to_string(workspace::root().join(CEILINGS)).context(CEILINGS)?;
    let mut over = Vec::new();
    for footprint in images {
        let ceilings = ceilings::parse(&text, footprint.name).context(CEILINGS)?;
        over.extend(measure(footprint, &compiler, &ceilings)?);
    }
    if over.is_empty() { Ok(()) } else { bail!("over the ceiling: {}", over.join(", ")) }
}

/// Builds and runs an image, and prints its figures; returns those that are over their ceilings.
fn measure(
    footprint: &Footprint,
    compiler: &Compiler,
    ceilings: &[Ceiling],
) -> Result<Vec<String>> {
    footprint.build(compiler)?;
    let full = footprint.image()?;
    let base = footprint.base.map(|base| footprint.read(base)).transpose()?;
    println!("\n== {}: {}", footprint.name, footprint.about);
    let flash = print_flash(base.as_ref(), &full);

    let mut figures = footprint.emulate()?;
    println!("\nOn the emulated board");
    figures.print();
    figures.insert("flash", flash);
    figures.insert("stack", footprint.stack(&figures));

    println!("\nCeilings of {CEILINGS}");
    let over = ceilings::compare(ceilings, &figures)?;
    Ok(over.into_iter().map(|figure| format!("{} {figure}", footprint.name)).collect())
}

/// Prints who the flash belongs to; returns how much it is. An image without another one to be
/// compared with counts as a whole.
fn print_flash(base: Option<&Image>, full: &Image) -> u64 {
    let flash = match base {
        Some(base) => {
            let flash = full.flash().saturating_sub(base.flash());
            println!(
                "Flash: {} - {} (empty image) = {flash} bytes, of which",
                full.flash(),
                base.flash()
            );
            flash
        }
        None => {
            println!("Flash: {} bytes, of which", full.whole());
            full.whole()
        }
    };
    let before = base.map(Image::by_crate).unwrap_or_default();
    let mut grown: Vec<(String, u64)> = full
        .by_crate()
        .into_iter()
        .filter(|(name, _)| base.is_none() || name != MEASURING)
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
    flash
}
