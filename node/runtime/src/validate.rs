//! Validation of a module's code on the device, and the bounds of its functions.

use crate::Refusal;
use crate::bounds;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use wasmparser::{
    BinaryReaderError, FuncValidator, FuncValidatorAllocations, FunctionBody, Parser, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

/// The WebAssembly that is accepted: version 1 with what compilers emit by default for it since, and
/// nothing that a snapshot cannot hold.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::GC_TYPES);

/// Validates `module`. The work grows with its length, and so does the memory that it takes meanwhile.
#[inline(never)]
pub(crate) fn validate(module: &[u8]) -> Result<(), Refusal> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut functions = Vec::new();
    for payload in parser.parse_all(module) {
        let payload = payload.map_err(invalid)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            functions.push((function, body));
        }
    }
    let mut allocations = FuncValidatorAllocations::default();
    let mut targets = 0;
    for (function, body) in functions {
        let mut validator = function.into_validator(allocations);
        check(&mut validator, &body, &mut targets)?;
        allocations = validator.into_allocations();
    }
    Ok(())
}

/// Instructions that are told from others, by their codes in WebAssembly.
const LOOP: u8 = 0x03;
const END: u8 = 0x0b;
const BR_TABLE: u8 = 0x0e;

/// Validates one function and counts what it consists of. `targets` is what functions before it have
/// had.
fn check(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    targets: &mut u32,
) -> Result<(), Refusal> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader).map_err(invalid)?;
    reader.set_features(FEATURES);
    bounds::LOCALS.check(validator.len_locals())?;
    // How many blocks are open in each loop, and the instructions that it has had; the function first.
    let mut loops = vec![(0, 0)];
    while !reader.eof() {
        let mut ahead = reader.clone();
        let code = ahead.read_u8().map_err(invalid)?;
        if code == BR_TABLE {
            *targets = targets.saturating_add(ahead.read_var_u32().map_err(invalid)?);
            bounds::TARGETS.check(*targets)?;
        }
        let at = reader.original_position();
        reader.visit_operator(&mut validator.visitor(at)).flatten().map_err(invalid)?;
        let open = validator.control_stack_height();
        bounds::NESTING.check(open)?;
        if code == END && loops.len() > 1 && loops.last().is_some_and(|(inside, _)| *inside > open)
        {
            loops.pop();
        }
        if let Some((_, count)) = loops.last_mut() {
            *count += 1;
            bounds::STRETCH.check(*count)?;
        }
        if code == LOOP {
            loops.push((open, 0));
        }
    }
    validator.finish(reader.original_position()).map_err(invalid)
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn invalid(error: BinaryReaderError) -> Refusal {
    Refusal::Invalid(error.to_string())
}
