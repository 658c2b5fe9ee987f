//! Hosts that share a link, and who of them hears whom.

use super::Kind;
use crate::Host;
use crate::site::{GATEWAY, REGISTRY};
use capmesh_wire::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// Hosts on a link of one kind.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The kind.
    pub kind: Kind,
    /// How often a frame to one host is sent again.
    pub retries: u8,
    shape: Shape,
    /// Until when a medium is taken.
    busy: BTreeMap<Medium, Instant>,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Everybody hears everybody, whoever joins.
    Everybody,
    /// These hear each other.
    Some(BTreeSet<Host>),
    /// Each hears its neighbours.
    Graph(BTreeMap<Host, BTreeSet<Host>>),
}

/// What can be sent on by one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Medium {
    Air,
    Host(Host),
    Pair(Host, Host),
}

impl Cell {
    const fn new(kind: Kind, shape: Shape) -> Self {
        Self { kind, retries: kind.retries(), shape, busy: BTreeMap::new() }
    }

    /// Everybody hears everybody, those who join later too.
    #[must_use]
    pub const fn everybody(kind: Kind) -> Self {
        Self::new(kind, Shape::Everybody)
    }

    /// These hear each other.
    #[must_use]
    pub fn of(kind: Kind, hosts: impl IntoIterator<Item = Host>) -> Self {
        Self::new(kind, Shape::Some(hosts.into_iter().collect()))
    }

    /// The two of each pair hear each other.
    #[must_use]
    pub fn graph(kind: Kind, pairs: impl IntoIterator<Item = (Host, Host)>) -> Self {
        let mut graph: BTreeMap<Host, BTreeSet<Host>> = BTreeMap::new();
        for (a, b) in pairs {
            graph.entry(a).or_default().insert(b);
            graph.entry(b).or_default().insert(a);
        }
        Self::new(kind, Shape::Graph(graph))
    }

    /// All hear the one in the middle only.
    #[must_use]
    pub fn star(kind: Kind, middle: Host, leaves: impl IntoIterator<Item = Host>) -> Self {
        Self::graph(kind, leaves.into_iter().map(|leaf| (middle, leaf)))
    }

    /// Nodes 1 to `count` in rows of `width`; each hears those left, right, above and below. With
    /// `width` 1 it is a line. The gateway and the registry hear node 1.
    #[must_use]
    pub fn grid(kind: Kind, count: Host, width: Host) -> Self {
        let right = (1..count).filter(move |n| n % width != 0).map(|n| (n, n + 1));
        let below = (1..=count.saturating_sub(width)).map(|n| (n, n + width));
        let edge = [(GATEWAY, 1), (REGISTRY, 1), (GATEWAY, REGISTRY)];
        Self::graph(kind, right.chain(below).chain(edge))
    }

    /// Whether what `from` sends can come to `to`.
    #[must_use]
    pub fn hears(&self, from: Host, to: Host) -> bool {
        from != to
            && match &self.shape {
                Shape::Everybody => true,
                Shape::Some(hosts) => hosts.contains(&from) && hosts.contains(&to),
                Shape::Graph(graph) => graph.get(&from).is_some_and(|near| near.contains(&to)),
            }
    }

    /// Those of `all` whom what `from` sends can come to.
    pub(crate) fn neighbours(&self, from: Host, all: &BTreeSet<Host>) -> Vec<Host> {
        match &self.shape {
            Shape::Everybody => all.iter().copied().filter(|host| *host != from).collect(),
            Shape::Some(hosts) if !hosts.contains(&from) => Vec::new(),
            Shape::Some(hosts) => hosts.iter().copied().filter(|host| *host != from).collect(),
            Shape::Graph(graph) => graph.get(&from).into_iter().flatten().copied().collect(),
        }
    }

    /// When `from` can begin to send to `to` (to all, if that is nobody), at `now` or later.
    pub(crate) fn free(&self, now: Instant, from: Host, to: Option<Host>) -> Instant {
        let until = |medium| self.busy.get(&medium).copied().unwrap_or(now).max(now);
        match (self.kind, &self.shape) {
            (Kind::Ethernet, _) => until(Medium::Host(from)),
            (Kind::Serial, _) => until(Medium::Pair(from, to.unwrap_or(from))),
            // A sender waits until it hears nobody; it does not hear who disturbs its receiver, and
            // finds that out by a frame that is not acknowledged: as if it waited for that, too.
            (Kind::Radio, Shape::Graph(_)) => {
                let receiver = to.map_or(now, |to| until(Medium::Host(to)));
                until(Medium::Host(from)).max(receiver)
            }
            (Kind::Radio, _) => until(Medium::Air),
        }
    }

    /// Has `from` send to `to` until then.
    pub(crate) fn occupy(&mut self, from: Host, to: Option<Host>, until: Instant) {
        let mut take = |medium| {
            let busy = self.busy.entry(medium).or_default();
            *busy = (*busy).max(until);
        };
        match (self.kind, &self.shape) {
            (Kind::Ethernet, _) => take(Medium::Host(from)),
            (Kind::Serial, _) => take(Medium::Pair(from, to.unwrap_or(from))),
            (Kind::Radio, Shape::Graph(graph)) => {
                take(Medium::Host(from));
                graph.get(&from).into_iter().flatten().for_each(|near| take(Medium::Host(*near)));
            }
            (Kind::Radio, _) => take(Medium::Air),
        }
    }
}
