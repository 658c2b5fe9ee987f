//! Writing a module anew, smaller and ready to be snapshot.

use super::Fault;
use super::survey::Survey;
use capmesh_capsule_abi::{self as abi, GLOBAL_PREFIX, MEMORY};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Instruction, MemoryType, Module, TableSection,
};
use wasmparser_host::{
    CustomSectionReader, Export, ExportSectionReader, ExternalKind, FunctionBody, Operator, Parser,
    TableSectionReader,
};

/// What becomes of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryPlan {
    /// It stays as it is declared.
    Keep,
    /// It gets pages of one byte: so many at its start, and never more than so many.
    Bytes {
        /// Bytes at the start.
        initial: u64,
        /// The most that it grows to.
        maximum: u64,
    },
    /// It gets so many bytes and cannot grow. The code goes on to believe in its pages of 64 KiB:
    /// it is told that it has so many, and that there are no more.
    Fixed {
        /// Bytes of memory.
        bytes: u64,
        /// The pages that `memory.size` gives.
        pages: u64,
    },
}

/// Writes the module anew.
pub(super) fn rewrite(
    wasm: &[u8],
    survey: &Survey,
    memory: MemoryPlan,
    keep_exports: bool,
) -> Result<Vec<u8>, Fault> {
    let mut module = Module::new();
    let mut rewriter = Rewriter { survey, memory, keep_exports, has_exports: false };
    rewriter.parse_core_module(&mut module, Parser::new(0), wasm)?;
    if !rewriter.has_exports {
        return Err(Fault::Exports);
    }
    Ok(module.finish())
}

struct Rewriter<'a> {
    survey: &'a Survey,
    memory: MemoryPlan,
    keep_exports: bool,
    has_exports: bool,
}

type Result2 = Result<(), Error>;

impl Reencode for Rewriter<'_> {
    type Error = core::convert::Infallible;

    fn memory_type(&mut self, memory: wasmparser_host::MemoryType) -> Result<MemoryType, Error> {
        let (initial, maximum) = match self.memory {
            MemoryPlan::Keep => return Ok(utils::memory_type(self, memory)),
            MemoryPlan::Bytes { initial, maximum } => (initial, maximum),
            MemoryPlan::Fixed { bytes, .. } => (bytes, bytes),
        };
        Ok(MemoryType {
            minimum: initial,
            maximum: Some(maximum),
            page_size_log2: Some(0),
            ..utils::memory_type(self, memory)
        })
    }

    /// They are for people and tools, and a node has neither.
    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result2 {
        Ok(())
    }

    /// Linkers write one whether or not something is called through it.
    fn parse_table_section(
        &mut self,
        tables: &mut TableSection,
        section: TableSectionReader<'_>,
    ) -> Result2 {
        if self.survey.uses_tables {
            utils::parse_table_section(self, tables, section)?;
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result2 {
        self.has_exports = true;
        for export in section {
            let export = export?;
            if self.is_wanted(&export) {
                utils::parse_export(self, exports, export)?;
            }
        }
        if self.survey.memory.is_some()
            && self.survey.export(MEMORY, ExternalKind::Memory).is_none()
        {
            exports.export(MEMORY, ExportKind::Memory, 0);
        }
        for index in self.survey.mutable_globals() {
            exports.export(&format!("{GLOBAL_PREFIX}{index}"), ExportKind::Global, index);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result2 {
        let MemoryPlan::Fixed { pages, .. } = self.memory else {
            return utils::parse_function_body(self, code, body);
        };
        let pages = i32::try_from(pages).unwrap_or(i32::MAX);
        let mut function = self.new_function_with_parsed_locals(&body)?;
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::MemorySize { .. } => {
                    function.instruction(&Instruction::I32Const(pages));
                }
                Operator::MemoryGrow { .. } => {
                    function.instruction(&Instruction::Drop);
                    function.instruction(&Instruction::I32Const(-1));
                }
                other => {
                    function.instruction(&self.instruction(other)?);
                }
            }
        }
        code.function(&function);
        Ok(())
    }
}

impl Rewriter<'_> {
    /// A node calls handlers and reaches the memory; globals are exported under names of our own.
    fn is_wanted(&self, export: &Export<'_>) -> bool {
        let is_handler = abi::handler(export.name).is_some();
        match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => self.keep_exports || is_handler,
            ExternalKind::Memory => export.name == MEMORY,
            // A handler's name on something else is for the node to refuse.
            ExternalKind::Global | ExternalKind::Table | ExternalKind::Tag => is_handler,
        }
    }
}
