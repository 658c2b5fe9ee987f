//! From what a compiler wrote to what a node takes.
//!
//! Packing a module
//! - drops custom sections (names, producers) and every export that a node does not call;
//! - exports the mutable globals as `$g` and their index, so that a snapshot reaches them;
//! - gives the memory pages of one byte, where that is possible, and no more of them than data and
//!   stack need;
//! - has the real runtime admit the result, so that what packs is what a node takes.
//!
//! # How large the memory is
//! | the module | what it gets |
//! |---|---|
//! | has pages of one byte already | what it declares |
//! | `[needs] memory` is given | that, and it cannot grow: `memory.grow` fails, `memory.size` gives what was declared |
//! | says where its heap begins (`__heap_base`), and neither asks for its size nor grows | up to there |
//! | anything else | what it declares, in pages of 64 KiB |

mod rewrite;
mod survey;

use capmesh_capsule_abi::{self as abi};
use capmesh_runtime::{Limits, Refusal, Runtime};
use rewrite::MemoryPlan;
use std::fmt;
use survey::Survey;

/// What is known about a module beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Bytes of linear memory that the author says are enough, whatever the module declares.
    pub memory: Option<u32>,
    /// Where the heap would begin, if the compiler said so apart from the module.
    pub heap_base: Option<u32>,
    /// Keep every exported function: for modules that somebody else than a node calls.
    pub keep_exports: bool,
}

/// A module that a node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The module.
    pub wasm: Vec<u8>,
    /// Bytes of linear memory at its start.
    pub memory: u32,
    /// Bytes of linear memory at its largest.
    pub max_memory: u32,
    /// Elements of all tables.
    pub table_elements: u16,
    /// The handlers that it has, in the order of the contract.
    pub handlers: Vec<&'static str>,
    /// What `state_version` returns, if it is there and does nothing else.
    pub state_version: Option<i32>,
    /// What its author may want to know.
    pub notes: Vec<Note>,
}

/// Something that is not wrong and could be better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The memory stays in pages of 64 KiB, so many bytes, for this reason.
    LargePages(u64, &'static str),
    /// Functions were exported that no node calls.
    UselessExports(Vec<String>),
    /// The memory that the author allows is less than what the module's data and stack take.
    Cramped {
        /// What the author allows.
        given: u32,
        /// Where data and stack end.
        needed: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LargePages(bytes, why) => write!(
                f,
                "the memory stays at {bytes} bytes, as {why}; state what it needs in capsule.toml: \
                 [needs] memory = BYTES"
            ),
            Self::UselessExports(names) => write!(
                f,
                "no node calls the exported function{} `{}`; the export was dropped",
                if names.len() == 1 { "" } else { "s" },
                names.join("`, `")
            ),
            Self::Cramped { given, needed } => write!(
                f,
                "[needs] memory = {given} is less than the {needed} bytes that its data and stack take"
            ),
        }
    }
}

/// Why a module cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not a module; the text says what is wrong and where.
    Malformed(String),
    /// It is text that does not parse; the text says what is wrong and where.
    Text(String),
    /// It exports nothing.
    Exports,
    /// `[needs] memory` is less than what the module writes at its start, both in bytes.
    Data {
        /// What the author allows.
        memory: u32,
        /// Where its data ends.
        data_end: u64,
    },
    /// A node would refuse it.
    Refused(Refusal),
}

impl From<wasmparser_host::Error> for Fault {
    fn from(error: wasmparser_host::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<wasm_encoder::reencode::Error> for Fault {
    fn from(error: wasm_encoder::reencode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the module is malformed: {why}"),
            Self::Text(why) => write!(f, "the module's text does not parse: {why}"),
            Self::Exports => f.write_str(
                "the module exports nothing; a capsule exports `memory` and at least one of \
                 `message`, `timer`, `event`, `request` and `run`",
            ),
            Self::Data { memory, data_end } => write!(
                f,
                "the module's data ends at {data_end}; [needs] memory = {memory} is too little"
            ),
            Self::Refused(refusal) => write!(f, "a node refuses the module: {refusal}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Limits that refuse nothing which some node would take: what is too large for the nodes that are
/// there is for placement to say.
#[must_use]
pub fn generous_limits() -> Limits {
    Limits {
        memory: 4 << 20,
        table_elements: 1_024,
        module: capmesh_wire::limits::BLOB,
        outbox_bytes: u32::from(u16::MAX),
        outbox_entries: u16::from(u8::MAX),
        event: u32::try_from(MAX_EVENT).unwrap_or(u32::MAX),
        handler_fuel: 1_000_000_000,
        timers: u16::try_from(capmesh_wire::limits::TIMERS).unwrap_or(u16::MAX),
    }
}

/// The longest record: every payload of 512 bytes fits, with room for padding.
const MAX_EVENT: usize = 4 * capmesh_wire::limits::PAYLOAD;

/// Packs a module, in binary or text form.
///
/// # Errors
/// What is wrong with it; for what a node would refuse, the runtime's own reason.
pub fn pack(module: &[u8], hints: Hints) -> Result<Packed, Fault> {
    let (packed, notes) = prepare(module, hints)?;
    Runtime::new().admit(&packed, &generous_limits()).map_err(Fault::Refused)?;
    let after = Survey::of(&packed)?;
    let memory = after.memory.map_or(0, survey::Memory::bytes);
    let max_memory =
        after.memory.and_then(|memory| memory.max_pages?.checked_shl(memory.page_log2));
    let max_memory = max_memory.unwrap_or(memory).max(memory);
    let is_handler = |name: &str| after.exports.iter().any(|export| export.name == name);
    let bytes = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok(Packed {
        memory: bytes(memory),
        max_memory: bytes(max_memory),
        table_elements: u16::try_from(after.table_elements).unwrap_or(u16::MAX),
        handlers: abi::HANDLERS.iter().map(|h| h.name).filter(|name| is_handler(name)).collect(),
        state_version: after.constant_function("state_version"),
        notes,
        wasm: packed,
    })
}

/// Rewrites a module, in binary or text form, as [`pack`] does, and asks no node whether it takes it.
///
/// # Errors
/// If it is not a module, or its data does not fit the memory that it is given.
pub fn prepare(module: &[u8], hints: Hints) -> Result<(Vec<u8>, Vec<Note>), Fault> {
    let wasm = wat::parse_bytes(module).map_err(|error| Fault::Text(error.to_string()))?;
    let survey = Survey::of(&wasm)?;
    let mut notes = Vec::new();
    let plan = plan_memory(&survey, hints, &mut notes)?;
    let prepared = rewrite::rewrite(&wasm, &survey, plan, hints.keep_exports)?;
    let useless = survey.useless_exports(|name| abi::handler(name).is_some() || is_tooling(name));
    if !useless.is_empty() && !hints.keep_exports {
        notes.push(Note::UselessExports(useless.into_iter().map(str::to_owned).collect()));
    }
    Ok((prepared, notes))
}

/// Where the heap begins in a module that was built with names, for those compilers that forget it
/// when they optimise.
///
/// # Errors
/// If it is not a module.
pub fn heap_base(module: &[u8]) -> Result<Option<u32>, Fault> {
    let survey = Survey::of(module)?;
    Ok(["__heap_base", "~lib/memory/__heap_base"]
        .into_iter()
        .find_map(|name| survey.constant_global(name)))
}

/// Bytes of the sections that packing drops from a module.
///
/// # Errors
/// If it is not a module.
pub fn custom_bytes(module: &[u8]) -> Result<usize, Fault> {
    Ok(Survey::of(module)?.custom_bytes)
}

/// Exported by compilers without being asked.
fn is_tooling(name: &str) -> bool {
    name.starts_with("__") || name == "_initialize"
}

/// What a stack pointer is aligned to.
const STACK_ALIGN: u64 = 16;

fn plan_memory(survey: &Survey, hints: Hints, notes: &mut Vec<Note>) -> Result<MemoryPlan, Fault> {
    // Without one the runtime has its say.
    let Some(memory) = survey.memory else { return Ok(MemoryPlan::Keep) };
    let exported = survey.constant_global("__heap_base");
    let end = exported.or(hints.heap_base).map(u64::from).filter(|end| *end >= survey.data_end);
    if let Some(given) = hints.memory {
        if u64::from(given) < survey.data_end {
            return Err(Fault::Data { memory: given, data_end: survey.data_end });
        }
        if let Some(needed) = end.and_then(|end| u32::try_from(end).ok()).filter(|end| *end > given)
        {
            notes.push(Note::Cramped { given, needed });
        }
        return Ok(if memory.page_log2 == 0 {
            let initial = memory.bytes().min(u64::from(given));
            let maximum = if survey.sizes_memory { u64::from(given) } else { initial };
            MemoryPlan::Bytes { initial, maximum }
        } else {
            MemoryPlan::Fixed { bytes: u64::from(given), pages: memory.pages }
        });
    }
    if memory.page_log2 == 0 {
        let maximum = if survey.sizes_memory { memory.max_pages } else { Some(memory.pages) };
        let maximum = maximum.unwrap_or(memory.pages);
        return Ok(MemoryPlan::Bytes { initial: memory.pages, maximum });
    }
    let (true, Some(end)) = (!survey.sizes_memory, end) else {
        let why = if survey.sizes_memory {
            "it asks for its size or grows"
        } else {
            "it does not say where its data and stack end (an export `__heap_base`)"
        };
        notes.push(Note::LargePages(memory.bytes(), why));
        return Ok(MemoryPlan::Keep);
    };
    let bytes = end.next_multiple_of(STACK_ALIGN).min(memory.bytes());
    Ok(MemoryPlan::Bytes { initial: bytes, maximum: bytes })
}

#[cfg(test)]
mod tests;
