//! A capsule comes from the registry to nodes on one radio.
//!
//! # What is modelled
//! All nodes and the registry are on one IEEE 802.15.4 radio and hear each other: *one* air for all of
//! 250 kbit/s, on which one sends at a time. Frames are of 127 bytes; what goes to one host is acknowledged
//! and sent again up to three times, what goes to all is not. Frames are lost as [`LOSS`] says, for each
//! receiver by itself. Collisions are not modelled: who finds the air taken waits for it.
//!
//! The gateway's commands go over a wire of their own, so that what is measured is the way of the capsule:
//! its manifest, its pieces, and what nodes say to each other to have them, handshakes included.

use crate::net::{Cell, Kind, group};
use crate::scenario::deploy;
use crate::{GATEWAY, Host, REGISTRY, World, capsules};
use capmesh_gateway::api::Request;
use capmesh_node::Config;
use capmesh_node::config::Budget;
use capmesh_wire::inventory::LinkKind;
use std::fmt::Write;
use std::time::Duration;

/// Thousandths of frames that are lost.
pub const LOSS: u16 = 100;

/// Bytes of the capsule's module.
pub const SIZE: u32 = 32 << 10;

/// The longest that it may take in the simulation, in seconds.
const PATIENCE: u64 = 7_200;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Nodes.
    pub nodes: Host,
    /// Until the first node had it, and the last.
    pub first: Duration,
    /// See `first`.
    pub last: Duration,
    /// What the registry gave, in copies of the capsule.
    pub egress: f64,
    /// What nodes have sent, in copies of the capsule.
    pub passed_on: f64,
    /// The time that the air was taken.
    pub air: Duration,
}

/// Brings a capsule to so many nodes.
///
/// # Panics
/// If it does not come to all of them within two hours.
#[must_use]
pub fn run(nodes: Host, seed: u64) -> Outcome {
    let mut world = World::settled(seed, nodes, &config());
    let all = || 1..=nodes;
    world.net.lay(vec![
        Cell::star(Kind::Ethernet, GATEWAY, all().chain([REGISTRY])),
        Cell::of(Kind::Radio, all().chain([REGISTRY])),
    ]);
    world.net.weather.loss = LOSS;
    world.registry.speak(group());
    let capsule = capsules::ballast(SIZE);
    world.registry.push("test/ballast:1", &capsule);
    // They have announced themselves, and the gateway knows what they have.
    world.run_for(Duration::from_secs(60));
    let egress = world.net.traffic(REGISTRY).bytes;
    let (passed_on, air) = sent(&world, nodes);
    deploy(&mut world, &pipeline(nodes));
    let begun = world.now;
    let mut times = vec![None; usize::from(nodes)];
    let until = begun + Duration::from_secs(PATIENCE);
    while times.contains(&None) {
        if !world.step(until) {
            panic!(
                "it has not come to all: {times:?}, {:#?}",
                world.insist(&Request::Log(Default::default()))
            );
        }
        for (machine, time) in world.machines.iter().zip(&mut times) {
            if time.is_none() && machine.held(&capsule.digest()).is_some() {
                *time = Some(world.now.saturating_since(begun));
            }
        }
    }
    let copies = |bytes: u64| bytes as f64 / f64::from(SIZE);
    let egress = copies(world.net.traffic(REGISTRY).bytes - egress);
    let (sent, taken) = sent(&world, nodes);
    let first = times.iter().flatten().min().copied().unwrap_or_default();
    let last = times.iter().flatten().max().copied().unwrap_or_default();
    Outcome { nodes, first, last, egress, passed_on: copies(sent - passed_on), air: taken - air }
}

/// What nodes have sent in bytes, and the time that the air was taken.
fn sent(world: &World, nodes: Host) -> (u64, Duration) {
    let traffic = (1..=nodes).map(|n| world.net.traffic(n));
    let (bytes, air) = traffic
        .fold((0, Duration::ZERO), |sum, traffic| (sum.0 + traffic.bytes, sum.1 + traffic.air));
    (bytes, air + world.net.traffic(REGISTRY).air)
}

fn config() -> Config {
    Config {
        group: Some(group()),
        link: LinkKind::Ieee802154,
        // One instance each, so that each node is to have the capsule.
        budget: Budget { instances: 1, ..Config::default().budget },
        ..capsules::config()
    }
}

/// What has every node run the capsule: a name may have so many replicas.
fn pipeline(nodes: Host) -> String {
    let mut text = "[pipeline]\nname = \"all\"\n".to_owned();
    for (number, first) in (0..nodes).step_by(50).enumerate() {
        let replicas = (nodes - first).min(50);
        let _ = write!(
            text,
            "[[capsule]]\nname = \"ballast{number}\"\nuse = \"test/ballast:1\"\nreplicas = {replicas}\n"
        );
    }
    text
}
