//! Modules by number: the same number gives the same module.

use crate::dice::Dice;
use arbitrary::{Arbitrary, Unstructured};
use capmesh_capsule_abi::{GLOBAL_PREFIX, HANDLERS, IMPORT_MODULE, IMPORTS, Type};
use std::fmt::Write as _;
use std::sync::OnceLock;
use wasm_encoder::{ExportKind, ExportSection, MemorySection, MemoryType, Module, RawSection};
use wasm_smith::{Config, Module as Smith};
use wasmparser::{ExternalKind, Parser, Payload};

/// How a module was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Any WebAssembly, of any proposal.
    Anything,
    /// The WebAssembly that is accepted, with any imports and exports.
    Accepted,
    /// What is accepted, with the contract's imports and handlers, packed as a capsule is.
    Capsule,
    /// A capsule that somebody has written, with bytes changed.
    Changed,
}

/// The module of this number.
pub(crate) fn module(number: u64) -> (Kind, Vec<u8>) {
    let mut dice = Dice::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    match number % 10 {
        0 => (Kind::Anything, anything(&mut dice)),
        1 => (Kind::Accepted, smith(accepted(&mut dice), &mut dice)),
        2..=6 => (Kind::Capsule, capsule(&mut dice)),
        _ => (Kind::Changed, changed(&mut dice)),
    }
}

fn anything(dice: &mut Dice) -> Vec<u8> {
    let bytes = dice.bytes(256);
    let config = Config::arbitrary(&mut Unstructured::new(&bytes)).expect("there are bytes enough");
    smith(config, dice)
}

fn smith(config: Config, dice: &mut Dice) -> Vec<u8> {
    let length = 64 << dice.below(8);
    let bytes = dice.bytes(length);
    // One that it cannot make, it takes for an empty one.
    Smith::new(config, &mut Unstructured::new(&bytes)).map_or_else(|_| Vec::new(), |m| m.to_bytes())
}

/// What admission accepts of WebAssembly, nearly.
fn accepted(dice: &mut Dice) -> Config {
    Config {
        acquire_release_atomics_enabled: false,
        allow_floats: !dice.one_in(8),
        allow_invalid_funcs: dice.one_in(50),
        allow_start_export: dice.one_in(50),
        bulk_memory_enabled: dice.one_in(2),
        compact_imports_enabled: false,
        custom_descriptors_enabled: false,
        custom_page_sizes_enabled: true,
        disallow_traps: dice.one_in(4),
        exceptions_enabled: false,
        gc_enabled: false,
        max_data_segments: dice.below(3),
        max_element_segments: dice.below(2),
        max_funcs: 1 + dice.below(20),
        max_globals: dice.below(8),
        max_instructions: 1 << dice.below(12),
        max_memories: 1,
        max_memory32_bytes: 1 << (4 + dice.below(13)),
        max_tables: dice.below(2),
        max_table_elements: 80,
        max_type_size: 200,
        memory64_enabled: false,
        min_memories: u32::from(!dice.one_in(50)),
        multibyte_array_access_enabled: false,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

fn name_of(ty: Type) -> &'static str {
    match ty {
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F64 => "f64",
    }
}

/// Parameters and result of a function, as text.
fn signature(function: &capmesh_capsule_abi::Function) -> String {
    let params: String = function.params.iter().map(|ty| format!(" {}", name_of(*ty))).collect();
    let result = function.result.map(|ty| format!("(result {})", name_of(ty)));
    format!("(param{params}) {}", result.unwrap_or_default())
}

/// With imports and handlers of the contract: now and then with one that has another type.
fn capsule(dice: &mut Dice) -> Vec<u8> {
    let mut imports = String::from("(module ");
    for import in IMPORTS {
        if dice.one_in(3) {
            let signature = signature(import);
            let name = import.name;
            let _ = write!(imports, r#"(import "{IMPORT_MODULE}" "{name}" (func {signature}))"#);
        }
    }
    imports.push(')');
    let mut exports = String::from("(module ");
    for handler in HANDLERS {
        if dice.one_in(2) {
            let wrong = if dice.one_in(200) { "(param f32)" } else { "" };
            let (name, signature) = (handler.name, signature(handler));
            let _ = write!(exports, r#"(func (export "{name}") {wrong} {signature} unreachable)"#);
        }
    }
    exports.push_str(r#"(memory (export "memory") 1))"#);
    let config = Config {
        available_imports: Some(wat::parse_str(imports).expect("valid text")),
        exports: Some(wat::parse_str(exports).expect("valid text")),
        allow_start_export: false,
        // Segments would be passive as often as not.
        max_data_segments: usize::from(dice.one_in(16)),
        max_element_segments: usize::from(dice.one_in(16)),
        // That of the exports is there in any case.
        max_memories: 0,
        min_memories: 0,
        ..accepted(dice)
    };
    let module = smith(config, dice);
    let least = 64 + dice.roll() % 8_000;
    let memory = MemoryType {
        minimum: least,
        maximum: Some(least + dice.roll() % 16_000),
        memory64: false,
        shared: false,
        page_size_log2: Some(0),
    };
    packed(&module, memory).unwrap_or(module)
}

/// Exports every mutable global and measures memory in bytes, as the packer does. `None` if it is not
/// a module.
fn packed(module: &[u8], memory: MemoryType) -> Option<Vec<u8>> {
    let mut packed = Module::new();
    let mut mutable = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.ok()?;
        if let Payload::GlobalSection(globals) = &payload {
            for (index, global) in (0..).zip(globals.clone()) {
                if global.ok()?.ty.mutable {
                    mutable.push(index);
                }
            }
        }
        if let Payload::MemorySection(_) = &payload {
            let mut memories = MemorySection::new();
            memories.memory(memory);
            packed.section(&memories);
        } else if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section {
                let export = export.ok()?;
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Memory => ExportKind::Memory,
                    _ => continue,
                };
                exports.export(export.name, kind, export.index);
            }
            for index in &mutable {
                exports.export(&format!("{GLOBAL_PREFIX}{index}"), ExportKind::Global, *index);
            }
            packed.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            packed.section(&RawSection { id, data: module.get(range)? });
        }
    }
    Some(packed.finish())
}

/// The capsules that are in the repository, built.
fn written() -> &'static [Vec<u8>] {
    static WRITTEN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        let mut paths = Vec::new();
        for folder in ["examples/capsules/dist", "protocols/capsule-abi/conformance/dist"] {
            for entry in std::fs::read_dir(format!("{root}{folder}")).expect("it is there") {
                paths.push(entry.expect("it can be read").path());
            }
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        paths.sort();
        assert!(paths.len() > 20, "the capsules are there");
        paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
    })
}

/// One of them with a few changes, most of them in its code.
fn changed(dice: &mut Dice) -> Vec<u8> {
    let all = written();
    let mut module = all[dice.below(all.len())].clone();
    let code = Parser::new(0).parse_all(&module).find_map(|payload| match payload {
        Ok(Payload::CodeSectionStart { range, .. }) => Some(range),
        _ => None,
    });
    let code = code.expect("a capsule has code");
    let most = 1 << dice.below(3);
    for _ in 0..=dice.below(most) {
        let in_code = !dice.one_in(4) && code.end < module.len();
        let place = if in_code { code.clone() } else { 0..module.len() };
        let at = place.start + dice.below(place.len());
        match dice.below(12) {
            // It remains a module of the same shape.
            0..=5 => module[at] ^= 1 << dice.below(8),
            6..=8 => module[at] = dice.roll() as u8,
            9 => module.insert(at, dice.roll() as u8),
            10 => drop(module.remove(at)),
            _ => {
                let other = &all[dice.below(all.len())];
                let (from, count) = (dice.below(other.len()), dice.below(32));
                let piece = &other[from..(from + count).min(other.len())];
                let end = (at + piece.len()).min(module.len());
                module.splice(at..end, piece.iter().copied());
            }
        }
    }
    module
}
