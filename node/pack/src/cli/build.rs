//! `build` and `check`.

use super::{Failure, grouped, json, program, write};
use crate::assemble::{self, Assembled};
use crate::seal::{self, Sealed};
use capmesh_keyfile::Key;
use capmesh_wire::Digest;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Build a capsule, measure it and sign it.
///
/// Compiles to the smallest module (Rust, C, AssemblyScript, or a prebuilt .wasm or .wat, as
/// capsule.toml says), makes it what a node takes, runs it to find out what it needs, and writes one
/// signed file, NAME.capsule. For Rust an installed wasm32 target is used, or else Debian's rustc-web
/// with rust-web-src and lld-22.
///
/// It is measured under messages made up from its schemas at the rates of capsule.toml, or under
/// the file samples.jsonl beside it (lines as for `run`).
#[derive(Debug, Args)]
pub struct Build {
    /// The capsule's folder, or its capsule.toml.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The publisher's private key (PEM), as `keygen` makes one; `capmesh site init` makes
    /// capmesh-site/keys/publisher.pem.
    #[arg(long, env = "CAPMESH_KEY")]
    key: Option<PathBuf>,
    /// Where the capsule goes; NAME.capsule in this folder if absent.
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Also write the bare module here.
    #[arg(long)]
    module: Option<PathBuf>,
    /// Stop when the module is packed: neither measure nor sign it.
    #[arg(long, requires = "module", conflicts_with = "out")]
    pack_only: bool,
}

impl Build {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        if let (true, Some(path)) = (self.pack_only, &self.module) {
            return pack(&self.path, path, json);
        }
        // A key that cannot be read is better found out before the compiler runs.
        let key = self.key.as_deref().map(Key::read).transpose()?;
        let assembled = assemble::assemble(&self.path)?;
        if !json {
            report(&assembled);
        }
        if let Some(path) = &self.module {
            write(path, &assembled.packed.wasm)?;
        }
        let written = key.map(|key| write_sealed(&assembled, &key, self.out)).transpose()?;
        match written {
            written if json => println!("{}", json::built(&assembled, written.as_ref())),
            None => {
                println!(
                    "not signed, and so not written: give the publisher's key with --key FILE"
                );
                println!("(`{} keygen` makes one)", program());
            }
            Some(Written { file, bytes, digest }) => {
                println!("{}: {} bytes, {digest}", file.display(), grouped(bytes as u64));
            }
        }
        Ok(())
    }
}

/// A capsule that was written.
pub(super) struct Written {
    pub(super) file: PathBuf,
    pub(super) bytes: usize,
    pub(super) digest: Digest,
}

fn write_sealed(
    assembled: &Assembled,
    key: &Key,
    out: Option<PathBuf>,
) -> Result<Written, Failure> {
    let sealed = seal(assembled, key)?;
    let file = out.unwrap_or_else(|| {
        let name = assembled.description.name.rsplit('/').next().unwrap_or("capsule");
        PathBuf::from(format!("{name}.capsule"))
    });
    let bundle = sealed.bundle();
    write(&file, &bundle)?;
    Ok(Written { file, bytes: bundle.len(), digest: sealed.digest() })
}

/// Writes the packed module and nothing else.
fn pack(capsule: &Path, module: &Path, json: bool) -> Result<(), Failure> {
    let (built, packed) = assemble::pack(&assemble::describe(capsule)?)?;
    write(module, &packed.wasm)?;
    if json {
        let file = module.display().to_string();
        let module = json!({ "file": file, "bytes": packed.wasm.len() });
        println!("{}", json!({ "module": module, "toolchain": built.toolchain }));
        return Ok(());
    }
    let size = grouped(packed.wasm.len() as u64);
    println!("{}: {size} bytes, built by {}", module.display(), built.toolchain);
    for note in &packed.notes {
        println!("note: {note}");
    }
    Ok(())
}

fn seal(assembled: &Assembled, key: &Key) -> Result<Sealed, Failure> {
    let Assembled { description, packed, forecast, .. } = assembled;
    seal::seal(description, packed, forecast.needs, &key.signing())
        .map_err(|error| Failure::given(&description.path, error))
}

/// Check a capsule without writing anything.
///
/// Does all that `build` does up to signing, and says what it found.
#[derive(Debug, Args)]
pub struct Check {
    /// The capsule's folder, or its capsule.toml.
    #[arg(default_value = ".")]
    path: PathBuf,
}

impl Check {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let assembled = assemble::assemble(&self.path)?;
        if !json {
            report(&assembled);
        }
        // That the manifest has room is only known once it is written; any key does for that.
        seal(&assembled, &Key::generate())?;
        if json {
            println!("{}", json::built(&assembled, None));
        } else {
            println!("a node would take it");
        }
        Ok(())
    }
}

fn report(assembled: &Assembled) {
    let Assembled { description, built, packed, forecast } = assembled;
    println!("{} {}, built by {}", description.name, description.version, built.toolchain);
    println!(
        "module   {} bytes ({} from the compiler), handlers: {}",
        grouped(packed.wasm.len() as u64),
        grouped(built.module.len() as u64),
        packed.handlers.join(", ")
    );
    let needs = &forecast.needs;
    println!(
        "needs    {} bytes of RAM on this machine, {} of them linear memory",
        grouped(needs.ram),
        grouped(needs.memory)
    );
    println!(
        "         {} fuel a second, at most {} a handler (seen: {})",
        grouped(needs.fuel_per_second),
        grouped(needs.fuel_per_handler),
        grouped(forecast.seen.most_fuel)
    );
    println!(
        "         an outbox of {} bytes and {} entries (seen: {} and {})",
        grouped(needs.outbox_bytes),
        needs.outbox_entries,
        forecast.seen.outbox_bytes,
        forecast.seen.outbox_entries
    );
    println!(
        "measured {} handlers and {} messages out in {} s of virtual time",
        grouped(forecast.seen.handlers),
        grouped(forecast.seen.published),
        grouped(forecast.micros / 1_000_000)
    );
    for note in &packed.notes {
        println!("note: {note}");
    }
    for handler in &forecast.unreached {
        println!(
            "note: the measuring run did not reach `{handler}`; a samples.jsonl that does makes the figures better"
        );
    }
}
