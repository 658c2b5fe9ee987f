//! A roster that revokes a node passes from node to node, without the gateway.
//!
//! # What is modelled
//! Nodes are laid out in a grid, and hear only those beside, above and below them, over IEEE 802.15.4 radios:
//! whoever sends takes the air of those that hear it. The gateway has a wire to all of them, which is cut
//! when somebody is revoked, but for that to the node in the corner; and that one, too, as soon as the node
//! has the new roster. The last node is as far from there as can be. What is said to all is not acknowledged,
//! and lost as the weather has it, frame by frame.

use crate::net::{Cell, Kind, Way, group};
use crate::{GATEWAY, Host, REGISTRY, World, capsules};
use capmesh_gateway::api::{OnNode, Request};
use capmesh_node::Config;
use capmesh_wire::inventory::LinkKind;
use std::time::Duration;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Nodes, without the one that was revoked.
    pub nodes: usize,
    /// From the request until the first node has the roster.
    pub first: Duration,
    /// Until half of them have it, nine of ten, and all.
    pub half: Duration,
    /// See `half`.
    pub most: Duration,
    /// See `half`.
    pub all: Duration,
    /// Datagrams that nodes have sent meanwhile.
    pub datagrams: u64,
}

/// Revokes the last of so many nodes, in rows of `width`, while so many thousandths of frames are lost.
///
/// # Errors
/// Which nodes do not have it, if it does not come to all of them within ten minutes.
pub fn run(nodes: Host, width: Host, loss: u16, seed: u64) -> Result<Outcome, String> {
    let config = Config { group: Some(group()), link: LinkKind::Ieee802154, ..capsules::config() };
    let mut world = World::settled(seed, nodes, &config);
    let wire = Cell::star(Kind::Ethernet, GATEWAY, (1..=nodes).chain([REGISTRY]));
    world.net.lay(vec![wire, Cell::grid(Kind::Radio, nodes, width)]);
    world.net.weather.loss = loss;
    // Announcements have become rare.
    world.run_for(Duration::from_secs(300));
    let before = world.machines[0].roster().unwrap_or_default();
    let sent = |world: &World| (1..=nodes).map(|n| world.net.traffic(n).datagrams).sum::<u64>();
    let datagrams = sent(&world);
    let begun = world.now;
    (2..=nodes).for_each(|n| world.part(GATEWAY, n, Way::Both));
    world.begin_ask(&Request::Revoke(OnNode { node: format!("n{nodes}") }));
    let mut times = vec![None; usize::from(nodes) - 1];
    let until = begun + Duration::from_secs(600);
    while times.contains(&None) {
        let goes_on = world.step(until);
        let is_first = times.iter().all(Option::is_none);
        for (machine, time) in world.machines.iter().zip(&mut times) {
            if time.is_none() && machine.roster() > Some(before) {
                *time = Some(world.now.saturating_since(begun));
            }
        }
        if is_first && times.iter().any(Option::is_some) {
            world.partition(&[GATEWAY], Way::Both);
        }
        if !goes_on {
            let missing = times.iter().zip(1..).filter(|(time, _)| time.is_none());
            return Err(format!(
                "{:?} do not have it",
                missing.map(|(_, n)| n).collect::<Vec<_>>()
            ));
        }
    }
    let mut times: Vec<Duration> = times.into_iter().flatten().collect();
    times.sort();
    let at = |part: usize| times[(times.len() * part).div_ceil(100) - 1];
    Ok(Outcome {
        nodes: times.len(),
        first: times[0],
        half: at(50),
        most: at(90),
        all: at(100),
        datagrams: sent(&world) - datagrams,
    })
}
