//! How large the parts of a module may be.
//!
//! A module is short, and what is made of it need not be: 2 KB of code can name four million locals,
//! and twenty thousand branch targets take a byte each in a module and forty in the interpreter. So
//! each part that costs more than its bytes has a bound of its own, far beyond what compilers make of
//! capsules. With them admission takes time and memory that grow with the module's length, and what
//! one unit of fuel buys differs little between instructions.

use crate::Refusal;

/// A part of a module that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What is counted, in the words of a sentence.
    pub what: &'static str,
    /// The most that is admitted.
    pub most: u32,
}

impl Bound {
    const fn new(what: &'static str, most: u32) -> Self {
        Self { what, most }
    }

    pub(crate) fn check(self, count: u32) -> Result<(), Refusal> {
        if count > self.most { Err(Refusal::TooMany { bound: self, count }) } else { Ok(()) }
    }
}

/// Function types.
pub const TYPES: Bound = Bound::new("function types", 128);
/// Parameters of a function or a block, and as many results: all are copied by one instruction.
pub const VALUES: Bound = Bound::new("parameters or results of one type", 16);
/// Imports: the contract has 13, and a compiler may import one of them twice.
pub const IMPORTS: Bound = Bound::new("imports", 32);
/// Functions.
pub const FUNCTIONS: Bound = Bound::new("functions", 512);
/// Globals.
pub const GLOBALS: Bound = Bound::new("globals", 64);
/// Exports: memory, handlers and mutable globals are those that count.
pub const EXPORTS: Bound = Bound::new("exports", 96);
/// Segments of data.
pub const DATA: Bound = Bound::new("data segments", 256);
/// Segments of elements.
pub const ELEMENTS: Bound = Bound::new("element segments", 16);
/// Parameters and locals of a function: a call sets them all to zero.
pub const LOCALS: Bound = Bound::new("parameters and locals of one function", 256);
/// Blocks around one instruction.
pub const NESTING: Bound = Bound::new("blocks around one instruction", 128);
/// Branch targets in the tables of all functions.
pub const TARGETS: Bound = Bound::new("branch targets in tables", 1_024);
/// Instructions of a function, or of a loop's body, beside those of the loops inside. The interpreter
/// takes the fuel of them all when it comes to the first, so that this is the least a slice may have
/// to be; see [`Instance::run`](crate::Instance::run).
pub const STRETCH: Bound = Bound::new("instructions between loops", 2_048);
