//! The roster as sessions look it up.

use alloc::vec::Vec;
use capmesh_session::{Entry, Replaceable, Roster as Lookup};
use capmesh_wire::Roster;
use core::fmt;

/// The members of the site, in RAM: sessions outlive the loan of flash that a roster is read from.
///
/// It is the roster's own encoding, 105 bytes for each member and
/// [`limits::ROSTER_ENTRIES`](capmesh_wire::limits::ROSTER_ENTRIES) of them at most.
#[derive(Clone, Default)]
pub struct Members(Vec<u8>);

impl Members {
    /// Nobody: the node belongs to no site yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }
}

impl Replaceable for Members {
    fn replace(&mut self, roster: &Roster<'_>) {
        self.0.clear();
        self.0.shrink_to(roster.as_bytes().len());
        self.0.extend_from_slice(roster.as_bytes());
    }
}

impl Lookup for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        Lookup::find(&Roster::from_trusted(&self.0).ok()?, kid)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members({} bytes)", self.0.len())
    }
}
