//! What a node does, told to those who check it.
//!
//! A node notes [`Trace`]s as it goes, for [`Node::traces`](crate::Node::traces) to give. Without the
//! feature `test-util` nothing is noted and nobody can ask: no code of it is left in firmware.

use crate::host::Trap;
use crate::router::PublishError;
use capmesh_wire::message::Stream;
use capmesh_wire::{Digest, Epoch, InstanceId, Seq};

/// Something that a node has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trace {
    /// An instance is brought up. What it did since the last commit, if it ran before, is undone.
    Up {
        /// Which.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
        /// Of which capsule.
        capsule: Digest,
        /// Whether it runs at once. One that was on its way elsewhere when the node went off does not.
        runs: bool,
        /// Whether it stops by itself when it has not heard of the gateway for some time.
        leased: bool,
        /// The most fuel that one of its handlers may use.
        fuel: u64,
        /// The state that it goes on from; `None` if it begins afresh.
        from: Option<Restored>,
    },
    /// An instance that was up is so no more: it has failed, was stopped, moved on, or its lease ran out.
    Down {
        /// Which.
        instance: InstanceId,
        /// In which epoch it was.
        epoch: Epoch,
    },
    /// A handler begins.
    Begins {
        /// Whose.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
        /// What it handles.
        given: Given,
    },
    /// A handler has ended. What it published was told before.
    Ends {
        /// Whose.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
        /// Why, if it ended badly: then it has published nothing.
        trap: Option<Trap>,
        /// What it has used of its fuel in all.
        fuel: u64,
    },
    /// A handler that has ended well published a message.
    Published {
        /// Whose.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
        /// On which output.
        output: u8,
        /// Its number, if it was taken.
        seq: Result<Seq, PublishError>,
        /// Of its payload; of the record, if that does not fit its schema.
        print: u64,
        /// What its wires promise.
        promise: Promise,
    },
    /// The state of an instance is taken, and on its way into flash.
    Taken {
        /// Whose.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
        /// Of all of it.
        print: u64,
        /// Of the capsule's part of it.
        memory: u64,
        /// Whether it is the last one here, for another node to go on from.
        moves: bool,
    },
    /// The state that was [taken](Trace::Taken) last is durable.
    Kept {
        /// Whose.
        instance: InstanceId,
        /// In which epoch.
        epoch: Epoch,
    },
}

/// A state that an instance went on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Restored {
    /// In which epoch it was taken.
    pub epoch: Epoch,
    /// Of which capsule.
    pub capsule: Digest,
    /// Of all of it.
    pub print: u64,
    /// Of the capsule's part of it.
    pub memory: u64,
    /// Of that part as it would be if it were taken now; `None` if the host cannot say.
    pub now: Option<u64>,
    /// Whether it was the last one where it was taken: else what the instance did after it may have been
    /// seen by others.
    pub is_last: bool,
}

/// What the wires promise that begin at an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promise {
    /// The newest message will do.
    Latest,
    /// Every message arrives, but for those that the outbox had no room for.
    EveryThatFits,
    /// Every message arrives: the producer waits for room.
    Every,
}

/// What a handler handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Given {
    /// Its start.
    Start,
    /// A timer that ran out.
    Timer(u16),
    /// A digital input that changed.
    Change,
    /// A message.
    Message {
        /// The number of the input.
        input: u8,
        /// Whose.
        stream: Stream,
        /// Which.
        seq: Seq,
        /// Whether it came on an `every` wire.
        every: bool,
        /// Of its payload.
        print: u64,
    },
    /// A request of somebody's, or an answer to one of its own.
    Call,
    /// The run of a one-shot capsule.
    Run,
}

/// How full something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// What it is.
    pub name: &'static str,
    /// How much it holds.
    pub has: u64,
    /// How much it may hold.
    pub most: u64,
}

/// Whether traces are noted.
pub(crate) const TRACES: bool = cfg!(any(test, feature = "test-util"));

/// What stands for some bytes: FNV-1a of 64 bits. It keeps nobody from making other bytes with the same.
#[must_use]
pub fn print(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |print, byte| {
        (print ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Where traces wait until they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    #[cfg(any(test, feature = "test-util"))]
    noted: alloc::vec::Vec<Trace>,
    /// The instances that are up.
    #[cfg(any(test, feature = "test-util"))]
    up: alloc::vec::Vec<(InstanceId, Epoch)>,
}

/// Traces that wait at most: what nobody asks for is not kept.
#[cfg(any(test, feature = "test-util"))]
const NOTED: usize = 4_096;

#[cfg_attr(
    not(any(test, feature = "test-util")),
    expect(clippy::unused_self, reason = "there is nothing to do")
)]
impl Tracer {
    /// Notes what `trace` says.
    #[inline]
    pub(crate) fn note(&mut self, trace: impl FnOnce() -> Trace) {
        #[cfg(any(test, feature = "test-util"))]
        if self.noted.len() < NOTED {
            self.noted.push(trace());
        }
        #[cfg(not(any(test, feature = "test-util")))]
        let _ = trace;
    }

    /// What was noted since this was asked last, and which instances are down by now. `up` are those
    /// that are up.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn take(
        &mut self,
        up: impl Iterator<Item = (InstanceId, Epoch)>,
    ) -> alloc::vec::Vec<Trace> {
        let now: alloc::vec::Vec<_> = up.collect();
        let mut taken = core::mem::take(&mut self.noted);
        if self.up != now {
            let is_gone = |of: &&(InstanceId, Epoch)| !now.contains(of);
            for (instance, epoch) in self.up.iter().filter(is_gone).copied() {
                // Before it is up again, if it is.
                let again = |trace: &Trace| matches!(trace, Trace::Up { instance: of, .. } if *of == instance);
                let at = taken.iter().position(again).unwrap_or(taken.len());
                taken.insert(at, Trace::Down { instance, epoch });
            }
            self.up = now;
        }
        taken
    }
}
