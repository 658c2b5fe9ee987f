//! What runs where, and who talks to whom: from pipelines to the rows of every node's plan.
//!
//! Everything here is a function of its arguments: no clock, no random source, ordered maps only. The
//! same site and ledger give the same answer on every machine.
//!
//! # From pipelines to rows
//! A [`Site`] is what is wanted and what there is; [`Current`] is what runs. [`decide`] gives the
//! [`Rows`](crate::rows::Rows) as they should be, with the reason for each, the streams from and to MQTT,
//! and the [`Refusal`]s of what has no place. [`changes`] says what differs.
//!
//! - An instance's number is handed out once and never again. A row that stays keeps number and epoch.
//! - A row whose capsule or settings change goes on in a later epoch.
//! - A row that is to be elsewhere says so by its `node`, with the epoch that it has: whoever migrates it
//!   raises that when it has really moved.
//! - Wires name instances; which nodes those are on is filled in when plans are written.
//!
//! # What decides where
//! [`capmesh_placement`]; see there. What is added here:
//! - An instance on a node that is lost goes elsewhere, unless its `failover` is `none`: that one waits.
//! - An instance that has no place any more stays where it is, and what it takes is off its node's
//!   capacity before others are placed. It is refused with the reason, and tried again next time.
//! - A node that has refused a capsule is not asked again until it holds other capsules or something is
//!   deployed, and nobody's wish to have it there counts until then.
//! - What an operator runs on a node by hand is not known here.
//! - The RAM that a capsule needs is what its manifest says: measured by the packer on a 64-bit machine,
//!   where pointers are twice as long. On a 32-bit board it takes less, so placement errs on the safe side.
//! - How many messages a wire carries is what the pipeline says (`rate`), not what was observed.
//!
//! # Replicas
//! Each replica of a producer has a wire to each replica of a consumer, unless the pipeline pairs them
//! ([`Replicas`](crate::pipeline::Replicas)). All replicas of an output that is published send to one
//! instance of the gateway, all replicas of an input that is subscribed get every message. Replica `n`
//! asks replica `n` of a peer, modulo how many that has.

mod change;
mod decide;
mod ends;
mod problem;
mod refusal;
#[cfg(test)]
mod tests;
mod weave;

pub use capmesh_placement::{Parts, Row as Reason, RunnerUp, Weights};
pub use change::{Change, changes};
pub use decide::{Current, Decision, Memory, TRIES, decide, decide_again, used};
pub use ends::{BridgeName, Ends, InstanceName, InvalidInstance};
pub use refusal::{Refusal, RefusalKind};
pub use weave::{Consumer, Egress, Ingress};

use crate::catalog::{Catalog, Offers};
use crate::pipeline::Pipeline;
use capmesh_wire::inventory::Inventory;
use capmesh_wire::{Digest, ErrorCode, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// What is wanted and what there is.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The pipelines by their names.
    pub pipelines: &'a BTreeMap<String, Pipeline>,
    /// What is known of capsules.
    pub catalog: &'a Catalog,
    /// The nodes.
    pub nodes: &'a BTreeMap<NodeId, Node<'a>>,
    /// Instances that somebody wants on a certain node.
    pub pinned: &'a BTreeMap<InstanceName, NodeId>,
    /// How the parts of the cost compare.
    pub weights: Weights,
}

/// A node as the gateway knows it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its name on the roster.
    pub name: &'a str,
    /// What it has, as it last said. Of a node that has yet to say, nothing is moved and nothing is
    /// placed there.
    pub inventory: Option<Inventory<'a>>,
    /// Words that its owner has attached to it.
    pub labels: &'a BTreeSet<String>,
    /// Whether it can be counted on.
    pub availability: Availability,
    /// The capsules that it has refused, and why.
    pub refuses: &'a BTreeMap<Digest, ErrorCode>,
}

/// Whether a node can be counted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    #[default]
    Ready,
    /// It is to be emptied: it works and takes nothing new.
    Draining,
    /// It has not been heard of for too long.
    Lost,
}

impl Site<'_> {
    /// What its nodes offer, those that are lost included, since they may come back.
    #[must_use]
    pub fn offers(&self) -> Offers {
        let mut offers = Offers::default();
        self.nodes.values().filter_map(|node| node.inventory).for_each(|has| offers.add(&has));
        offers
    }
}
