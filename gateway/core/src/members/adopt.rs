//! Adoption: a node's claim vouches for its key; the key goes on the roster; the node is told whose roster
//! to trust, and fetches it from here.
//!
//! Nothing of it is durable but the roster and the node's record: after a crash of either side it is begun
//! anew, with the same outcome.

use crate::io::RequestId;
use capmesh_wire::{BlobRef, Claim, Instant, NodeId};
use core::net::SocketAddr;

/// A node on its way into the site.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// Who waits for it.
    pub(crate) request: RequestId,
    pub(crate) claim: Claim,
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) stage: Stage,
    /// Whether it was on the roster before: then it may only have moved, or been started anew.
    pub(crate) is_member: bool,
    /// When it is given up.
    pub(crate) until: Instant,
    /// When to ask (again); `None` while it is asked.
    pub(crate) ask_at: Option<Instant>,
    /// What was said last, if it was a refusal.
    pub(crate) refusal: Option<capmesh_wire::ErrorCode>,
}

/// How far an adoption is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The node is asked for its credential.
    Claim,
    /// The roster with the node on it becomes durable.
    Enrol(NodeId),
    /// The node is told, and fetches the roster.
    Tell(NodeId, BlobRef),
    /// The node was on the roster before, and belongs to a site already: that it is this one shows by its
    /// opening a session.
    Greet,
}

impl Adoption {
    pub(crate) const fn node(&self) -> NodeId {
        self.claim.node()
    }
}
