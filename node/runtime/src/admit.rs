//! Admission: what a module must be before anything of it runs.

use crate::Runtime;
use crate::bounds::{self, Bound};
use alloc::string::{String, ToString};
use capmesh_capsule_abi::{self as abi, Function, GLOBAL_PREFIX, IMPORT_MODULE, MEMORY, Type};
use capmesh_node::host::Limits;
use core::fmt;
use wasmi::{ExternType, FuncType, Module, Mutability, ValType};

/// A module that passed admission, translated for the interpreter.
#[derive(Debug)]
pub struct Admitted {
    pub(crate) module: Module,
    /// The memory's page size as a power of two.
    pub(crate) page_log2: u32,
    handlers: Handlers,
}

impl Admitted {
    /// Whether the capsule exports this handler.
    #[must_use]
    pub fn handles(&self, name: &str) -> bool {
        abi::HANDLERS.iter().position(|h| h.name == name).is_some_and(|i| self.handlers.has(i))
    }
}

/// The page size of a memory that does not say another: 64 KiB.
const DEFAULT_PAGE_LOG2: u32 = 16;

/// Which of [`abi::HANDLERS`] a module exports, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handlers(u16);

impl Handlers {
    fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }
}

/// Why a module was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The module is larger than the limit, both in bytes.
    TooLarge {
        /// The module's size.
        size: usize,
        /// The limit.
        limit: u32,
    },
    /// Not valid WebAssembly of the accepted kind; the text says what is wrong and where.
    Invalid(String),
    /// An import that the contract does not have, or of another type than the contract's.
    Import {
        /// The module name of the import.
        module: String,
        /// The name of the import.
        name: String,
        /// Whether the contract has that name, with another type.
        known: bool,
    },
    /// A handler is exported with another type than the contract's.
    HandlerType(&'static str),
    /// None of the handlers that make a capsule do something is exported.
    NoHandler,
    /// There is no exported memory named `memory`.
    NoMemory,
    /// The module's memory at its start is larger than the limit, both in bytes.
    Memory {
        /// What the module asks for.
        size: u64,
        /// The limit.
        limit: u32,
    },
    /// It has a passive segment, whose being dropped a snapshot could not see.
    PassiveSegment,
    /// This mutable global is not exported under the packer's name, so that a snapshot would lose
    /// it.
    HiddenGlobal(u32),
    /// There is more of something than is admitted.
    TooMany {
        /// What it is, and how much of it there may be.
        bound: Bound,
        /// How much there is, or how much had been counted when it was too much.
        count: u32,
    },
    /// The interpreter could not set the module up; the text says why.
    Setup(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "the module has {size} bytes; the limit here is {limit}")
            }
            Self::Invalid(why) => write!(f, "the module is not valid: {why}"),
            Self::Import { module, name, known: true } => write!(
                f,
                "the import `{module}.{name}` has another type than the contract gives it"
            ),
            Self::Import { module, name, known: false } => {
                write!(f, "the import `{module}.{name}` is not part of the contract `{IMPORT_MODULE}`")
            }
            Self::HandlerType(name) => {
                write!(f, "the export `{name}` has another type than the contract gives it")
            }
            Self::NoHandler => f.write_str(
                "the module exports none of `message`, `timer`, `event`, `request` and `run`: it would never do anything",
            ),
            Self::NoMemory => write!(f, "the module exports no memory named `{MEMORY}`"),
            Self::Memory { size, limit } => {
                write!(f, "the module starts with {size} bytes of memory; the limit here is {limit}")
            }
            Self::PassiveSegment => {
                f.write_str("the module has a passive data or element segment; snapshots cannot hold its state")
            }
            Self::HiddenGlobal(index) => write!(
                f,
                "the mutable global {index} is not exported as `{GLOBAL_PREFIX}{index}`; pack the module first"
            ),
            Self::TooMany { bound: Bound { what, most }, count } => {
                write!(f, "the module has {count} {what}; the most is {most}")
            }
            Self::Setup(why) => write!(f, "the module could not be set up: {why}"),
        }
    }
}

impl core::error::Error for Refusal {}

impl Runtime {
    /// Admits `module` if it keeps the contract and the limits, and translates it. The work grows
    /// with the module's length only.
    ///
    /// # Errors
    /// The first rule that the module breaks.
    pub fn admit(&self, module: &[u8], limits: &Limits) -> Result<Admitted, Refusal> {
        let limit = usize::try_from(limits.module).unwrap_or(usize::MAX);
        if module.len() > limit {
            return Err(Refusal::TooLarge { size: module.len(), limit: limits.module });
        }
        // Each check has a frame of its own, so that none lies under the translator's. Counts come
        // first: the validator has in memory what they bound.
        check_counts(module)?;
        #[cfg(feature = "validate")]
        crate::validate::validate(module)?;
        let page_log2 = check_sections(module, limits)?;
        let module = self.translate(module)?;
        check_imports(&module)?;
        let handlers = check_exports(&module)?;
        Ok(Admitted { module, page_log2, handlers })
    }

    /// Translates a module that has been validated.
    #[inline(never)]
    fn translate(&self, module: &[u8]) -> Result<Module, Refusal> {
        #[expect(unsafe_code, reason = "saves 50 KB of flash over a second validator in wasmi")]
        // SAFETY: `validate` has accepted the module with a subset of the engine's features.
        // Without the `validate` feature the node's operator has taken on to run validated modules
        // only, as the feature's documentation says.
        let module = unsafe { Module::new_unchecked(&self.engine, module) };
        module.map_err(|error| Refusal::Setup(error.to_string()))
    }
}

/// Refuses a module that has more of anything than is admitted, as far as its sections tell.
#[inline(never)]
fn check_counts(module: &[u8]) -> Result<(), Refusal> {
    use wasmparser::{Parser, Payload};
    let invalid = |error: wasmparser::BinaryReaderError| Refusal::Invalid(error.to_string());
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::TypeSection(types) => {
                bounds::TYPES.check(types.count())?;
                for ty in types.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(invalid)?;
                    let longer = ty.params().len().max(ty.results().len());
                    bounds::VALUES.check(u32::try_from(longer).unwrap_or(u32::MAX))?;
                }
            }
            Payload::ImportSection(imports) => bounds::IMPORTS.check(imports.count())?,
            Payload::FunctionSection(functions) => bounds::FUNCTIONS.check(functions.count())?,
            Payload::GlobalSection(globals) => bounds::GLOBALS.check(globals.count())?,
            Payload::ExportSection(exports) => bounds::EXPORTS.check(exports.count())?,
            Payload::ElementSection(segments) => bounds::ELEMENTS.check(segments.count())?,
            Payload::DataSection(segments) => bounds::DATA.check(segments.count())?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what a snapshot could not hold: passive segments, start functions, and mutable globals
/// that are not exported; and more memory than the limit. Returns the page size.
#[inline(never)]
fn check_sections(module: &[u8], limits: &Limits) -> Result<u32, Refusal> {
    use wasmparser::{DataKind, ElementKind, ExternalKind, Parser, Payload};
    let invalid = |error: wasmparser::BinaryReaderError| Refusal::Invalid(error.to_string());
    let mut mutable_globals = alloc::vec::Vec::new();
    let mut imported_globals = 0;
    let mut page_log2 = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::ImportSection(imports) => {
                for import in imports {
                    let import = import.map_err(invalid)?;
                    imported_globals +=
                        u32::from(matches!(import.ty, wasmparser::TypeRef::Global(_)));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.map_err(invalid)?;
                    let log2 = memory.page_size_log2.unwrap_or(DEFAULT_PAGE_LOG2);
                    let size = memory.initial.checked_shl(log2).unwrap_or(u64::MAX);
                    if size > u64::from(limits.memory) {
                        return Err(Refusal::Memory { size, limit: limits.memory });
                    }
                    page_log2 = Some(log2);
                }
            }
            Payload::GlobalSection(globals) => {
                for (index, global) in (imported_globals..).zip(globals) {
                    if global.map_err(invalid)?.ty.mutable {
                        mutable_globals.push(index);
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(invalid)?;
                    let number = export.name.strip_prefix(GLOBAL_PREFIX);
                    if export.kind == ExternalKind::Global
                        && number.and_then(|n| n.parse().ok()) == Some(export.index)
                    {
                        mutable_globals.retain(|index| *index != export.index);
                    }
                }
            }
            Payload::StartSection { .. } => {
                return Err(Refusal::Invalid("a start function; export `start` instead".into()));
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    if matches!(segment.map_err(invalid)?.kind, DataKind::Passive) {
                        return Err(Refusal::PassiveSegment);
                    }
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments {
                    if !matches!(segment.map_err(invalid)?.kind, ElementKind::Active { .. }) {
                        return Err(Refusal::PassiveSegment);
                    }
                }
            }
            _ => {}
        }
    }
    match mutable_globals.first() {
        Some(index) => Err(Refusal::HiddenGlobal(*index)),
        None => page_log2.ok_or(Refusal::NoMemory),
    }
}

#[inline(never)]
fn check_imports(module: &Module) -> Result<(), Refusal> {
    for import in module.imports() {
        let function = (import.module() == IMPORT_MODULE).then(|| abi::import(import.name()));
        let function = function.flatten();
        let fits = match (function, import.ty()) {
            (Some(function), ExternType::Func(ty)) => is_type(ty, function),
            _ => false,
        };
        if !fits {
            return Err(Refusal::Import {
                module: import.module().into(),
                name: import.name().into(),
                known: function.is_some(),
            });
        }
    }
    Ok(())
}

#[inline(never)]
fn check_exports(module: &Module) -> Result<Handlers, Refusal> {
    let mut handlers = Handlers::default();
    for (index, handler) in abi::HANDLERS.iter().enumerate() {
        match module.get_export(handler.name) {
            Some(ExternType::Func(ty)) if is_type(&ty, handler) => handlers.0 |= 1 << index,
            Some(_) => return Err(Refusal::HandlerType(handler.name)),
            None => {}
        }
    }
    let does_something = ["message", "timer", "event", "request", "run"];
    if !does_something.iter().any(|name| module.get_export(name).is_some()) {
        return Err(Refusal::NoHandler);
    }
    if !matches!(module.get_export(MEMORY), Some(ExternType::Memory(_))) {
        return Err(Refusal::NoMemory);
    }
    for export in module.exports() {
        if let ExternType::Global(global) = export.ty() {
            let numeric = matches!(
                global.content(),
                ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
            );
            if global.mutability() == Mutability::Var && !numeric {
                return Err(Refusal::Invalid("a mutable global that holds a reference".into()));
            }
        }
    }
    Ok(handlers)
}

fn is_type(ty: &FuncType, function: &Function) -> bool {
    let same = |(a, b): (&ValType, &Type)| {
        matches!(
            (a, b),
            (ValType::I32, Type::I32) | (ValType::I64, Type::I64) | (ValType::F64, Type::F64)
        )
    };
    ty.params().len() == function.params.len()
        && ty.params().iter().zip(function.params).all(same)
        && ty.results().len() == usize::from(function.result.is_some())
        && ty.results().iter().zip(&function.result).all(same)
}
