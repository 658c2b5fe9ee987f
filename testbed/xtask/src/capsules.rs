//! `cargo xtask capsules`: builds the example capsules and compares them with those committed.
//!
//! A compiler of another version writes other bytes. `toolchains.txt` beside the modules says which
//! one wrote each; where this machine has another, the module is still built, which must succeed, and
//! the comparison is left out, plainly.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    options,
    process::{output, run},
    steps::Done,
    workspace,
};

const HELP: &str = "\
Builds every capsule of examples/capsules and protocols/capsule-abi/conformance, and compares the
modules byte for byte with those committed in `dist` beside them. Where the compiler is not the one
that wrote the committed module, it says so and does not compare.

Usage: cargo xtask capsules [--write]

  --write  write what was built over what is committed, with the examples measured and signed anew";

/// Folders of capsules, each with its `dist`, and whether `dist` also has signed capsules.
const SETS: [(&str, bool); 2] =
    [("examples/capsules", true), ("protocols/capsule-abi/conformance", false)];

/// Signs the examples. Everybody has it.
const KEY: &str = "examples/capsules/dist/examples.pem";

pub(crate) fn main(args: lexopt::Parser) -> Result<()> {
    match options::write(args, HELP)? {
        None => Ok(()),
        Some(false) => check().map(drop),
        Some(true) => {
            build_tool()?;
            SETS.iter().try_for_each(|(folder, signed)| write(folder, *signed))
        }
    }
}

/// Builds and compares; skipped if nothing could be compared.
pub(crate) fn check() -> Result<Done> {
    build_tool()?;
    let (mut compared, mut others) = (0, Vec::new());
    for (folder, _) in SETS {
        let dist = workspace::root().join(folder).join("dist");
        let committed = toolchains(&dist);
        for capsule in capsules(folder)? {
            let name = name(&capsule);
            let built = workspace::target().join("capsules").join(format!("{name}.wasm"));
            let toolchain = build(&capsule, &built)?;
            let wanted = committed.get(&name);
            if wanted != Some(&toolchain) {
                let wanted = wanted.map_or("nothing", String::as_str);
                println!("  {name}: not compared: built by {toolchain}, committed by {wanted}");
                others.push(name);
                continue;
            }
            let path = dist.join(format!("{name}.wasm"));
            let there = fs::read(&path).with_context(|| path.display().to_string())?;
            if there != fs::read(&built)? {
                bail!(
                    "{} is not what its source builds: cargo xtask capsules --write",
                    path.display()
                );
            }
            compared += 1;
        }
    }
    println!("  {compared} modules are what their sources build");
    let measured = measure()?;
    println!("  {measured} capsules take the RAM that their manifests state");
    if compared == 0 && !others.is_empty() {
        let why = "all capsules build, by other compilers than those that wrote the committed ones";
        return Ok(Done::Skipped(why.into()));
    }
    Ok(Done::Passed)
}

/// Has every committed capsule's digests and signature checked and its RAM measured anew.
fn measure() -> Result<usize> {
    let dist = workspace::root().join("examples/capsules/dist");
    let entries = fs::read_dir(&dist).with_context(|| dist.display().to_string())?;
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "capsule") {
            continue;
        }
        let mut tool = tool();
        tool.args(["inspect", "--measure", "--publisher"])
            .arg(dist.join("examples.ccs"))
            .arg(&path);
        output(&mut tool).context("cargo xtask capsules --write measures anew")?;
        count += 1;
    }
    Ok(count)
}

/// Builds and writes one set.
fn write(folder: &str, signed: bool) -> Result<()> {
    let dist = workspace::root().join(folder).join("dist");
    let mut lines = String::new();
    for capsule in capsules(folder)? {
        let name = name(&capsule);
        let toolchain = build(&capsule, &dist.join(format!("{name}.wasm")))?;
        writeln!(lines, "{name}: {toolchain}")?;
        if signed {
            let mut tool = tool();
            tool.arg("build")
                .arg(&capsule)
                .arg("--key")
                .arg(workspace::root().join(KEY))
                .arg("--out")
                .arg(dist.join(format!("{name}.capsule")));
            run(&mut tool)?;
        }
    }
    if !lines.is_empty() {
        fs::write(dist.join("toolchains.txt"), lines).context("cannot write toolchains.txt")?;
    }
    Ok(())
}

/// The packer. What it builds goes to one folder, so that what capsules share is built once.
fn tool() -> Command {
    let mut tool = Command::new(workspace::target().join("debug/capmesh-capsule"));
    tool.env("CARGO_TARGET_DIR", workspace::target().join("capsules/build"));
    tool
}

fn build_tool() -> Result<()> {
    run(workspace::cargo().args(["build", "--quiet", "--locked", "-p", "capmesh-capsule"]))
}

/// Packs one capsule's module to `path`; returns the compiler.
fn build(capsule: &Path, path: &Path) -> Result<String> {
    let mut tool = workspace::cargo();
    tool.args([
        "run",
        "--quiet",
        "--locked",
        "-p",
        "capmesh-capsule",
        "--",
        "build",
        "--pack-only",
    ])
    .arg(capsule)
    .arg("--module")
    .arg(path);
    let said = output(&mut tool).with_context(|| capsule.display().to_string())?;
    let toolchain = said.lines().find_map(|line| line.split_once(", built by "));
    let (_, toolchain) = toolchain.context("the packer does not say which compiler it used")?;
    Ok(toolchain.to_owned())
}

/// The folders below `folder` that are capsules, by name.
fn capsules(folder: &str) -> Result<Vec<PathBuf>> {
    let path = workspace::root().join(folder);
    let Ok(entries) = fs::read_dir(&path) else { return Ok(Vec::new()) };
    let mut capsules = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()
        .with_context(|| path.display().to_string())?;
    capsules.retain(|path| path.join("capsule.toml").is_file());
    capsules.sort();
    Ok(capsules)
}

fn name(capsule: &Path) -> String {
    capsule.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Which compiler wrote each committed module.
fn toolchains(dist: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(dist.join("toolchains.txt")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(name, toolchain)| (name.to_owned(), toolchain.to_owned())).collect()
}
