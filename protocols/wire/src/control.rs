//! What a gateway or an operator tells a node to do.
//!
//! A command goes as a POST to [`paths::CONTROL`](crate::paths::CONTROL). It is answered by a
//! [`Reply`] with 2.04, or by a [`Problem`](crate::Problem) with the code that goes with it. Every
//! command that names an instance names its epoch: repeated, it has the same outcome; with an older
//! epoch than the node has seen it is refused.
//!
//! Migration, for an instance of epoch e: `Prepare` (e + 1) at the target, `Quiesce` (e) at the source,
//! `Restore` (e + 1) at the target, the gateway commits, `Start` (e + 1) at the target, `Release` (e) at
//! the source; `Resume` (e) at the source undoes what was before the commit, `Stop` (e + 1) at the target
//! clears it up there.

use crate::blob::BlobRef;
use crate::cbor::List;
use crate::cbor::macros::{record, tuple, union};
use crate::digest::Digest;
use crate::id::{Claim, Epoch, InstanceId, NodeId};
use crate::limits;
use crate::plan::Assignment;
use crate::text::Bytes;

union! {
    /// A command.
    pub enum Command<'a> {
        /// Fetch, verify and keep a capsule.
        Install = 0, Install<'a>;
        /// Forget a capsule that no instance uses.
        Remove = 1, Remove;
        /// Have a place ready for an instance that is to come from another node.
        Prepare = 2, Start<'a>;
        /// Run an instance: afresh, or from the state that it was restored to.
        Start = 3, Start<'a>;
        /// End an instance and forget its state.
        Stop = 4, Target;
        /// Finish the running handler, take the state, and offer it to the target.
        Quiesce = 5, Quiesce;
        /// Take the state and go on.
        Checkpoint = 6, Target;
        /// Fetch the state of an instance that was prepared for.
        Restore = 7, Restore;
        /// Go on after having quiesced.
        Resume = 8, Target;
        /// Forget an instance that now runs elsewhere, and send its messages there for a while.
        Release = 9, Release;
        /// Run on: the lease counts from now.
        Renew = 10, Renew;
        /// Run a one-shot capsule.
        Run = 11, Run<'a>;
        /// Belong to a site: accepted once, from the one that the node's claim was given to.
        Adopt = 12, Adopt<'a>;
        /// Start the node anew.
        Reboot = 13, Nothing;
    }
}

tuple! {
    /// An instance of a certain epoch.
    pub struct Target {
        /// The instance.
        instance: InstanceId,
        /// Its epoch.
        epoch: Epoch,
    }
}

tuple! {
    /// No more to say.
    pub struct Nothing {}
}

record! {
    /// Fetch, verify and keep a capsule.
    pub struct Install<'a> {
        /// The digest of its manifest.
        0 => capsule: Digest,
        /// Nodes and registries to ask, nearest first.
        1 => sources: List<'a, NodeId, { limits::SOURCES }>,
    }
}

record! {
    /// Forget a capsule.
    pub struct Remove {
        /// The digest of its manifest.
        0 => capsule: Digest,
    }
}

record! {
    /// Prepare for or run an instance.
    pub struct Start<'a> {
        /// The instance and its epoch.
        0 => target: Target,
        /// Its row, if it is not in the node's plan.
        1 => assignment: Option<Assignment<'a>>,
        /// Nodes and registries to ask for its capsule, nearest first.
        2 => sources: List<'a, NodeId, { limits::SOURCES }>,
    }
}

record! {
    /// Finish the running handler, take the state, and offer it to the target.
    pub struct Quiesce {
        /// The instance and its epoch.
        0 => target: Target,
        /// The node that it goes to.
        1 => to: NodeId,
    }
}

record! {
    /// Fetch the state of an instance.
    pub struct Restore {
        /// The instance and its new epoch.
        0 => target: Target,
        /// The snapshot.
        1 => snapshot: BlobRef,
        /// Who has it.
        2 => from: NodeId,
    }
}

record! {
    /// Forget an instance that now runs elsewhere.
    pub struct Release {
        /// The instance and the epoch that it had here.
        0 => target: Target,
        /// Where it runs now.
        1 => to: NodeId,
    }
}

record! {
    /// Run on.
    pub struct Renew {
        /// The instance and its epoch.
        0 => target: Target,
        /// The lease, in milliseconds.
        1 => lease_ms: u32,
        /// From when on it counts: what the node has last said of its time. From now on, if it is absent.
        2 => since: Option<Moment>,
    }
}

tuple! {
    /// A moment by a node's own clock, as nobody else can know it before it is there: a lease that counts
    /// from one is not longer for having been long on its way.
    pub struct Moment {
        /// How often the node has started.
        boots: u32,
        /// Since that start, in milliseconds.
        uptime_ms: u64,
    }
}

record! {
    /// Run a one-shot capsule.
    pub struct Run<'a> {
        /// The digest of its manifest.
        0 => capsule: Digest,
        /// What it is given.
        1 => arguments: Bytes<'a, { limits::PAYLOAD }>,
    }
}

record! {
    /// Belong to a site.
    pub struct Adopt<'a> {
        /// The site's key, as a CCS credential.
        0 => site: Bytes<'a, { limits::CREDENTIAL }>,
        /// The site's roster, to be fetched from whoever sends this.
        1 => roster: BlobRef,
        /// The node's claim: shows that it was given to whoever sends this. A node takes no other
        /// proof, since it knows nobody yet.
        2 => claim: Option<Claim>,
    }
}

union! {
    /// What came of a command.
    pub enum Reply<'a> {
        /// It is done.
        Done = 0, Nothing;
        /// It has begun; the status tells when it is done.
        Accepted = 1, Nothing;
        /// The instance is quiescent, or a checkpoint was taken: this is its state.
        Snapshot = 2, BlobRef;
        /// What a one-shot capsule gave.
        Result = 3, RunResult<'a>;
        /// The lease is renewed: when, by the node's clock.
        Renewed = 4, Moment;
    }
}

record! {
    /// What a one-shot capsule gave.
    pub struct RunResult<'a> {
        /// The status that it responded with: a CoAP code, as the byte on the wire.
        0 => status: u8,
        /// Its result.
        1 => result: Bytes<'a, { limits::PAYLOAD }>,
        /// The fuel that it took.
        2 => fuel: u64,
    }
}
