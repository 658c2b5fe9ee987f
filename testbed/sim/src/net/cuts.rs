//! Who is kept from hearing whom, and until when.

use crate::Host;
use capmesh_wire::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// In which direction a host is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither hears the other.
    Both,
    /// What is sent to the hosts named does not come there.
    In,
    /// What the hosts named send does not come anywhere.
    Out,
}

/// Partitions and clogs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    /// Hosts that are on the other side of a partition, and how.
    sides: Vec<(BTreeSet<Host>, Way)>,
    /// From whom nothing comes to whom.
    pairs: BTreeSet<(Host, Host)>,
    /// From whom nothing comes to whom before then.
    clogs: BTreeMap<(Host, Host), Instant>,
}

impl Cuts {
    /// Separates hosts from all others; among each other they hear each other.
    pub(crate) fn partition(&mut self, hosts: &[Host], way: Way) {
        self.sides.push((hosts.iter().copied().collect(), way));
    }

    pub(crate) fn pair(&mut self, from: Host, to: Host) {
        self.pairs.insert((from, to));
    }

    pub(crate) fn heal_pair(&mut self, from: Host, to: Host) {
        self.pairs.remove(&(from, to));
    }

    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn clog(&mut self, from: Host, to: Host, until: Instant) {
        self.clogs.insert((from, to), until);
    }

    /// Whether nothing comes from one to the other.
    pub(crate) fn is_cut(&self, from: Host, to: Host) -> bool {
        self.pairs.contains(&(from, to))
            || self.sides.iter().any(|(side, way)| {
                let (leaves, enters) = (
                    side.contains(&from) && !side.contains(&to),
                    side.contains(&to) && !side.contains(&from),
                );
                match way {
                    Way::Both => leaves || enters,
                    Way::In => enters,
                    Way::Out => leaves,
                }
            })
    }

    /// The earliest that something comes from one to the other.
    pub(crate) fn open(&self, from: Host, to: Host) -> Instant {
        self.clogs.get(&(from, to)).copied().unwrap_or_default()
    }
}
