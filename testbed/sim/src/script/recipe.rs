//! What capsules of a workload do.

use crate::capsules::{self, Packed};
use crate::host::Script;
use capmesh_node::test_util::capsules::{IMPORTS, adder, source};

/// What a capsule of a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    /// Publishes the numbers from 1 on.
    Source {
        /// How far apart, in milliseconds.
        millis: u32,
        /// How many.
        count: u32,
    },
    /// Publishes the sum of what it has had.
    Adder,
    /// Counts what it has had.
    Sink,
    /// An adder that traps at each message whose number is a multiple of this.
    Trap {
        /// Which.
        nth: u32,
    },
    /// An adder that never ends at such a message.
    Loop {
        /// Which.
        nth: u32,
    },
    /// An adder that grows its memory as far as it is let at such a message, and traps.
    Hog {
        /// Which.
        nth: u32,
    },
}

impl Recipe {
    /// The capsule's name in the registry.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Source { millis, count } => format!("sim/source-{millis}-{count}"),
            Self::Adder => "sim/adder".to_owned(),
            Self::Sink => "sim/sink".to_owned(),
            Self::Trap { nth } => format!("sim/trap-{nth}"),
            Self::Loop { nth } => format!("sim/loop-{nth}"),
            Self::Hog { nth } => format!("sim/hog-{nth}"),
        }
    }

    /// Whether it has an input.
    #[must_use]
    pub const fn has_input(self) -> bool {
        !matches!(self, Self::Source { .. })
    }

    /// Whether it has an output.
    #[must_use]
    pub const fn has_output(self) -> bool {
        !matches!(self, Self::Sink)
    }

    /// Whether it falls over some of its messages.
    #[must_use]
    pub const fn is_hostile(self) -> bool {
        matches!(self, Self::Trap { .. } | Self::Loop { .. } | Self::Hog { .. })
    }

    /// The capsule, signed: as a module, or as a script that does the same. Its state fits later versions
    /// that are the same of the two.
    #[must_use]
    pub fn pack(self, version: u16, is_script: bool) -> Packed {
        let text = if is_script { self.script().to_string() } else { self.text() };
        let inputs: &[&str] = if self.has_input() { &["in"] } else { &[] };
        let outputs: &[&str] = if self.has_output() { &["out"] } else { &[] };
        capsules::pack_version(&self.name(), version, &text, inputs, outputs, &[])
    }

    /// The same without an interpreter, for volume.
    #[must_use]
    pub fn script(self) -> Script {
        match self {
            Self::Source { millis, count } => {
                Script::Source { micros: u64::from(millis) * 1_000, count: count.into() }
            }
            Self::Adder => Script::Adder,
            Self::Sink => Script::Sink,
            Self::Trap { nth } => Script::Trap(nth.into()),
            Self::Loop { nth } => Script::Loop(nth.into()),
            Self::Hog { nth } => Script::Hog(nth.into()),
        }
    }

    /// The module as text.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Source { millis, count } => source(count, u64::from(millis) * 1_000),
            Self::Sink => sink(),
            Self::Adder => adder(""),
            Self::Trap { nth } => adder(&at(nth, "unreachable")),
            Self::Loop { nth } => adder(&at(nth, "(loop $for_ever (br $for_ever))")),
            Self::Hog { nth } => adder(&at(
                nth,
                "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 4096)) (i32.const 0))))
                unreachable",
            )),
        }
    }
}

/// Counts.
fn sink() -> String {
    format!(
        r#"(module {IMPORTS}
    (func (export "message") (param i32 i32)
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))))"#
    )
}

/// Does something at messages whose number is a multiple of `nth`.
fn at(nth: u32, what: &str) -> String {
    format!("(if (i64.eqz (i64.rem_u (i64.load (i32.const 8)) (i64.const {nth}))) (then {what}))")
}
