//! What stands in a module, as far as packing it needs to know.

use super::Fault;
use std::collections::BTreeSet;
use wasmparser_host::{
    ConstExpr, Export, ExternalKind, FunctionBody, GlobalType, Operator, Parser, Payload, TypeRef,
};

/// The page size of a memory that does not say another: 64 KiB.
pub(super) const DEFAULT_PAGE_LOG2: u32 = 16;

/// What was found in a module.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The memory, unless there is none or it is imported.
    pub(super) memory: Option<Memory>,
    /// Every global with its constant value, imported ones first.
    globals: Vec<Global>,
    pub(super) exports: Vec<Exported>,
    /// Elements that all tables have at their start.
    pub(super) table_elements: u64,
    /// Whether code asks how large the memory is, or makes it larger.
    pub(super) sizes_memory: bool,
    /// Whether tables have elements, or code calls through them.
    pub(super) uses_tables: bool,
    /// Where the active data segments end, as far as they say so with a constant.
    pub(super) data_end: u64,
    /// Bytes of sections that are for people and tools.
    pub(super) custom_bytes: usize,
    /// The constant that each function without parameters consists of.
    constants: Vec<Option<i32>>,
    imported_functions: usize,
    /// Names that the module gives to its globals in the custom section for names.
    global_names: Vec<(u32, String)>,
}

/// A memory, as it is declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) pages: u64,
    pub(super) max_pages: Option<u64>,
    pub(super) page_log2: u32,
}

impl Memory {
    pub(super) fn bytes(self) -> u64 {
        self.pages.checked_shl(self.page_log2).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
struct Global {
    mutable: bool,
    value: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Exported {
    pub(super) name: String,
    pub(super) kind: ExternalKind,
    pub(super) index: u32,
}

impl Survey {
    /// Reads a binary module once.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, Fault> {
        let mut survey = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            survey.take(payload?)?;
        }
        Ok(survey)
    }

    fn take(&mut self, payload: Payload<'_>) -> Result<(), Fault> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import?.ty {
                        TypeRef::Global(ty) => self.globals.push(Global::new(ty, None)),
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => self.imported_functions += 1,
                        _ => {}
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.table_elements = self.table_elements.saturating_add(table?.ty.initial);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    self.memory = self.memory.or(Some(Memory {
                        pages: memory.initial,
                        max_pages: memory.maximum,
                        page_log2: memory.page_size_log2.unwrap_or(DEFAULT_PAGE_LOG2),
                    }));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    self.globals.push(Global::new(global.ty, constant(&global.init_expr)));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let Export { name, kind, index } = export?;
                    self.exports.push(Exported { name: name.to_owned(), kind, index });
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    if let wasmparser_host::DataKind::Active { offset_expr, .. } = segment.kind
                        && let Some(offset) = constant(&offset_expr)
                    {
                        let end = u64::from(offset).saturating_add(segment.data.len() as u64);
                        self.data_end = self.data_end.max(end);
                    }
                }
            }
            Payload::ElementSection(_) => self.uses_tables = true,
            Payload::CodeSectionEntry(body) => self.take_body(&body)?,
            Payload::CustomSection(section) => {
                self.custom_bytes += section.data().len();
                if let wasmparser_host::KnownCustom::Name(names) = section.as_known() {
                    self.take_names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take_body(&mut self, body: &FunctionBody<'_>) -> Result<(), Fault> {
        let mut operators = Vec::new();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            self.sizes_memory |=
                matches!(operator, Operator::MemorySize { .. } | Operator::MemoryGrow { .. });
            self.uses_tables |= uses_table(&operator);
            if operators.len() < 3 {
                operators.push(operator);
            }
        }
        self.constants.push(match operators.as_slice() {
            [Operator::I32Const { value }, Operator::End] => Some(*value),
            _ => None,
        });
        Ok(())
    }

    /// Names that cannot be read are nobody's loss.
    fn take_names(&mut self, names: wasmparser_host::NameSectionReader<'_>) {
        for name in names.into_iter().flatten() {
            if let wasmparser_host::Name::Global(globals) = name {
                let names = globals.into_iter().flatten();
                self.global_names.extend(names.map(|name| (name.index, name.name.to_owned())));
            }
        }
    }

    /// Mutable globals that the module itself has, by index.
    pub(super) fn mutable_globals(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.globals).filter(|(_, global)| global.mutable).map(|(index, _)| index)
    }

    pub(super) fn export(&self, name: &str, kind: ExternalKind) -> Option<&Exported> {
        self.exports.iter().find(|export| export.name == name && export.kind == kind)
    }

    /// The constant value of the global that is exported, or else called, by this name.
    pub(super) fn constant_global(&self, name: &str) -> Option<u32> {
        let exported = self.export(name, ExternalKind::Global).map(|export| export.index);
        let named = || self.global_names.iter().find(|(_, n)| n == name).map(|(index, _)| *index);
        let global = self.globals.get(usize::try_from(exported.or_else(named)?).ok()?)?;
        global.value.filter(|_| !global.mutable)
    }

    /// What an exported function returns that does nothing else.
    pub(super) fn constant_function(&self, name: &str) -> Option<i32> {
        let index = usize::try_from(self.export(name, ExternalKind::Func)?.index).ok()?;
        *self.constants.get(index.checked_sub(self.imported_functions)?)?
    }

    /// Names of exported functions that are neither handlers nor of use to a node.
    pub(super) fn useless_exports(&self, is_kept: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let functions = self
            .exports
            .iter()
            .filter(|export| matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact));
        functions.map(|export| export.name.as_str()).filter(|name| !is_kept(name)).collect()
    }
}

impl Global {
    fn new(ty: GlobalType, value: Option<u32>) -> Self {
        Self { mutable: ty.mutable, value }
    }
}

const fn uses_table(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableSize { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
    )
}

/// The value of an expression that is one `i32.const`.
fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut operators = expression.get_operators_reader();
    match (operators.read().ok()?, operators.read().ok()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value.cast_unsigned()),
        _ => None,
    }
}
