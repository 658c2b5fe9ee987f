//! Events and meshes made by hand.

use super::{Checker, Has, Life, Mesh, Planned, Verdict};
use crate::{Event, Host};
use capmesh_node::router::PublishError;
use capmesh_node::trace::{Gauge, Given, Promise, Restored, Trace};
use capmesh_wire::message::Stream;
use capmesh_wire::{Digest, Epoch, InstanceId, Instant, Seq};
use std::collections::BTreeMap;

/// Shows a checker events one after the other, a second apart.
pub(super) fn show(checker: &mut dyn Checker, events: &[Event]) -> Verdict {
    let numbered = (1..).zip(events);
    numbered.into_iter().try_for_each(|(at, event)| checker.see(Instant::from_secs(at), event))
}

pub(super) fn node(host: Host, trace: Trace) -> Event {
    Event::Node { host, trace }
}

pub(super) const CAPSULE: Digest = Digest::from_bytes([7; 32]);

fn up_with(
    host: Host,
    (instance, epoch): (u32, u32),
    leased: bool,
    from: Option<Restored>,
) -> Event {
    let (instance, epoch, capsule) = (InstanceId(instance), Epoch(epoch), CAPSULE);
    node(host, Trace::Up { instance, epoch, capsule, runs: true, leased, fuel: 1_000, from })
}

/// An instance in an epoch begins afresh.
pub(super) fn fresh(host: Host, of: (u32, u32)) -> Event {
    up_with(host, of, false, None)
}

/// The same with a lease.
pub(super) fn leased(host: Host, of: (u32, u32)) -> Event {
    up_with(host, of, true, None)
}

/// An instance goes on from the state `print` of an epoch, which was the last of it or not.
pub(super) fn from(host: Host, of: (u32, u32), print: u64, epoch: u32, is_last: bool) -> Event {
    let (epoch, capsule, memory) = (Epoch(epoch), CAPSULE, print + 1_000);
    let now = Some(memory);
    up_with(host, of, false, Some(Restored { epoch, capsule, print, memory, now, is_last }))
}

pub(super) fn down(host: Host, (instance, epoch): (u32, u32)) -> Event {
    node(host, Trace::Down { instance: InstanceId(instance), epoch: Epoch(epoch) })
}

/// The gateway gives an instance, which topics call `p--i` and its `name`, to a node or to none.
pub(super) fn owned(instance: u32, name: u32, by: Option<Host>) -> Event {
    Event::Owned { instance, path: format!("p--i{name}").into(), epoch: 1, by }
}

pub(super) fn timer(host: Host, (instance, epoch): (u32, u32)) -> Event {
    let (instance, epoch) = (InstanceId(instance), Epoch(epoch));
    node(host, Trace::Begins { instance, epoch, given: Given::Timer(0) })
}

/// An instance handles message `seq` of another's output 0, whose content is `print`.
pub(super) fn handles(
    host: Host,
    (instance, epoch): (u32, u32),
    of: u32,
    seq: u64,
    print: u64,
) -> Event {
    let stream = Stream { instance: InstanceId(of), output: 0 };
    let given = Given::Message { input: 0, stream, seq: Seq(seq), every: true, print };
    let (instance, epoch) = (InstanceId(instance), Epoch(epoch));
    node(host, Trace::Begins { instance, epoch, given })
}

pub(super) fn ends(host: Host, (instance, epoch): (u32, u32), fuel: u64, traps: bool) -> Event {
    let trap = traps.then_some(capmesh_node::host::Trap::Unreachable);
    let (instance, epoch) = (InstanceId(instance), Epoch(epoch));
    node(host, Trace::Ends { instance, epoch, trap, fuel })
}

pub(super) fn publishes(host: Host, of: (u32, u32), seq: u64, print: u64) -> Event {
    publishes_as(host, of, Ok(Seq(seq)), print, Promise::Every)
}

pub(super) fn publishes_as(
    host: Host,
    (instance, epoch): (u32, u32),
    seq: Result<Seq, PublishError>,
    print: u64,
    promise: Promise,
) -> Event {
    let (instance, epoch) = (InstanceId(instance), Epoch(epoch));
    node(host, Trace::Published { instance, epoch, output: 0, seq, print, promise })
}

pub(super) fn taken(host: Host, (instance, epoch): (u32, u32), print: u64) -> Event {
    let (instance, epoch, memory) = (InstanceId(instance), Epoch(epoch), print + 1_000);
    node(host, Trace::Taken { instance, epoch, print, memory, moves: false })
}

pub(super) fn kept(host: Host, (instance, epoch): (u32, u32)) -> Event {
    node(host, Trace::Kept { instance: InstanceId(instance), epoch: Epoch(epoch) })
}

/// A mesh that is as it is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Still {
    pub(super) nodes: BTreeMap<Host, Vec<Has>>,
    pub(super) off: Vec<Host>,
    pub(super) revoked: Vec<Host>,
    pub(super) gauges: Vec<Gauge>,
    pub(super) plan: Vec<Planned>,
    pub(super) held: Option<(Vec<u8>, Vec<u8>)>,
}

impl Still {
    /// Nodes that each run what is planned for them: instance, epoch, host.
    pub(super) fn planned(rows: &[(u32, u32, Host)]) -> Self {
        let mut still = Self::default();
        for (instance, epoch, host) in rows.iter().copied() {
            let has = Has { instance, epoch, life: Life::Runs };
            still.nodes.entry(host).or_default().push(has);
            still.plan.push(Planned { instance, epoch, host });
        }
        still
    }
}

impl Mesh for Still {
    fn nodes(&self) -> Vec<Host> {
        self.nodes.keys().copied().collect()
    }

    fn gauges(&self, _: Host) -> Vec<Gauge> {
        self.gauges.clone()
    }

    fn held(&self, _: Host, _: &Digest) -> Option<(&[u8], &[u8])> {
        self.held.as_ref().map(|(envelope, module)| (envelope.as_slice(), module.as_slice()))
    }

    fn instances(&self, host: Host) -> Option<Vec<Has>> {
        self.nodes.get(&host).filter(|_| !self.off.contains(&host)).cloned()
    }

    fn is_member(&self, host: Host) -> bool {
        !self.revoked.contains(&host)
    }

    fn plan(&self) -> Vec<Planned> {
        self.plan.clone()
    }
}
