//! Reads what an author writes about a capsule: `capsule.toml`, and a small file for each schema.
//!
//! These files are the only place where a capsule's names are tied to numbers. The Rust SDK's macros
//! and the generators for C and AssemblyScript turn them into code, the packer turns them into the
//! manifest, and both get them from here: [`Description::read`].
//!
//! # `capsule.toml`
//! ```toml
#![doc = include_str!("example/capsule.toml")]
//! ```
//!
//! # A schema file
//! ```toml
#![doc = include_str!("example/temperature.toml")]
//! ```
//!
//! # Numbers
//! Inputs, outputs and everything else that comes in `[[...]]` are numbered by their place in the
//! file, from 0. Schemas are numbered in the order of `[schemas]`.
//!
//! # Errors
//! All faults of all files are reported at once, each with file, line and column, what was meant to
//! stand there and the nearest name that exists.

/// Reading what people write in TOML, for other files of theirs: typed access that notes every fault,
/// with its place and the nearest name.
pub mod document {
    pub use crate::fault::{Collector, File};
    pub use crate::nearest::{Hint, Message, hint};
    pub use crate::section::{Distinct, Section, Word};
    pub use toml::Spanned;
    pub use toml::de::DeValue as Value;
}

mod convert;
mod fault;
mod generate;
mod layout;
mod nearest;
mod parse;
mod schema;
mod section;

pub use convert::Illegal;
pub use fault::{Fault, Faults};
pub use layout::{Layout, Place};
pub use nearest::nearest;

use capmesh_wire::schema::{FieldType, Unit};
use std::path::{Path, PathBuf};

/// A capsule as its author describes it. Every name keeps the grammar of
/// [`Name`](capmesh_wire::text::Name), every number refers to something, and nothing is more than
/// the bounds of a manifest allow.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The capsule's name in the registry.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// The manifest's sequence number: which of two manifests of one name is newer.
    pub sequence: u64,
    /// Length of the module's chunks as a power of two.
    pub chunk_log2: u8,
    /// Where the module may be had.
    pub uri: Option<String>,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
    /// What the module is built from.
    pub source: Source,
    /// The schemas of its ports, in the order of their numbers.
    pub schemas: Vec<Schema>,
    /// Where messages arrive.
    pub inputs: Vec<Port>,
    /// Where messages leave.
    pub outputs: Vec<Port>,
    /// The sensors that it reads.
    pub sensors: Vec<Port>,
    /// The actuators that it sets.
    pub actuators: Vec<Actuator>,
    /// The digital inputs whose changes it hears of.
    pub sources: Vec<Named>,
    /// Its timers. They are no part of the manifest, which only says how many there are.
    pub timers: Vec<Named>,
    /// What it can be asked.
    pub services: Vec<Service>,
    /// The capsules that it asks.
    pub peers: Vec<Peer>,
    /// The configuration values that it reads.
    pub config: Vec<Config>,
    /// Which layout its state has.
    pub state: Option<State>,
    /// What its author says about its needs.
    pub needs: Needs,
}

/// What a module is built from. Paths are ready to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Rust package in this folder.
    Rust(PathBuf),
    /// These files in C.
    C(Vec<PathBuf>),
    /// These files in AssemblyScript, the first of which is the entry.
    AssemblyScript(Vec<PathBuf>),
    /// A module in binary (`.wasm`) or text form (`.wat`).
    Prebuilt(PathBuf),
}

/// A schema, and what `capsule.toml` calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What `capsule.toml` calls it. Equal to `name` for a schema that was read by itself.
    pub alias: String,
    /// Its file.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u16,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A field of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub ty: FieldType,
    /// What it is measured in.
    pub unit: Unit,
    /// Whether it may be absent.
    pub optional: bool,
    /// What it is, in a sentence.
    pub doc: Option<String>,
}

/// An input, output or sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The number of its schema.
    pub schema: usize,
    /// Messages a second that the capsule is made for; 1 if nothing else is said. Inputs only.
    pub rate: f64,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
}

/// Something that the capsule sets to a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actuator {
    /// Its name.
    pub name: String,
    /// What the number means.
    pub unit: Unit,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
}

/// Something that has only a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
}

/// A resource: of this capsule, or of one that it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The number of the schema of a request, if requests carry something.
    pub request: Option<usize>,
    /// The number of the schema of a response, if responses carry something.
    pub response: Option<usize>,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
}

/// A capsule that this one asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What this capsule calls it.
    pub name: String,
    /// What it asks of it.
    pub services: Vec<Service>,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
}

/// A configuration value: a number, a switch or a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name, type and unit. It is optional exactly if there is a default.
    pub field: Field,
    /// What it is if nobody says.
    pub default: Option<Value>,
}

/// A configuration value's default.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a switch.
    Bool(bool),
    /// Of a number of any type.
    Number(f64),
    /// Of a text.
    Text(String),
}

/// Which state the capsule can go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The version of the layout that it keeps.
    pub version: u16,
    /// The oldest version that it can be restored from.
    pub oldest: u16,
}

/// What a capsule's author says about its needs; the packer measures what is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of stack in linear memory.
    pub stack: Option<u32>,
    /// Bytes of linear memory at its largest.
    pub memory: Option<u32>,
    /// Fuel a second.
    pub fuel_per_second: Option<u32>,
    /// Fuel after which a handler has gone wrong.
    pub fuel_per_handler: Option<u32>,
    /// Bytes that one handler leaves in the outbox.
    pub outbox_bytes: Option<u16>,
    /// Entries that one handler leaves in the outbox.
    pub outbox_entries: Option<u8>,
}

impl Description {
    /// Reads `capsule.toml` at `path` and the schema files that it names.
    ///
    /// # Errors
    /// All faults of all files; one that cannot be opened is a fault of its own.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        parse::read(path)
    }

    /// All files that the description was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let schemas = self.schemas.iter().map(|schema| schema.path.as_path());
        std::iter::once(self.path.as_path()).chain(schemas)
    }
}

impl Schema {
    /// Reads a schema file.
    ///
    /// # Errors
    /// All its faults.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        schema::read(path)
    }
}

#[cfg(test)]
mod tests;
