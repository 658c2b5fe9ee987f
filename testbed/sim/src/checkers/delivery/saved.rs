//! Ledgers, and those that states were taken with.

use super::lines::Number;
use capmesh_wire::message::Stream;
use std::collections::{BTreeMap, VecDeque};

/// What an instance has handled and published.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// What comes next at each input.
    pub(super) inputs: BTreeMap<Port, Cursor>,
    /// The number of the next message of each output.
    pub(super) outputs: BTreeMap<u8, u64>,
}

/// A stream at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) input: u8,
    pub(super) stream: Stream,
}

/// How far an input has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// In which of the producer's lines.
    pub(super) line: Number,
    /// The number of the first message that it has not handled.
    pub(super) next: u64,
}

/// States of an instance that are remembered: the gateway may give back a checkpoint of some time ago.
const STATES: usize = 1_024;

/// The ledgers that the states of an instance were taken with.
#[derive(Debug, Default)]
pub(super) struct Saved {
    states: VecDeque<(u64, Number, Ledger)>,
}

impl Saved {
    pub(super) fn save(&mut self, print: u64, line: Number, ledger: Ledger) {
        if self.states.len() >= STATES {
            self.states.pop_front();
        }
        self.states.push_back((print, line, ledger));
    }

    /// The line and the ledger that a state was taken with.
    pub(super) fn find(&self, print: u64) -> Option<(Number, Ledger)> {
        let found = self.states.iter().rev().find(|(of, ..)| *of == print);
        found.map(|(_, line, ledger)| (*line, ledger.clone()))
    }
}
