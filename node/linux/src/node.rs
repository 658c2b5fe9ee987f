//! Puts a node together: its configuration, its endpoint, its runtime.

use crate::arguments::Arguments;
use crate::sensors::Sensors;
use capmesh_coap::endpoint::{Config as EndpointConfig, Endpoint};
use capmesh_coap::relay::Relaying;
use capmesh_node::config::{Budget, Config, Schedule, Sensor};
use capmesh_node::site::Members;
use capmesh_node::{Boot, Node, flash};
use capmesh_runtime::Runtime;
use capmesh_session::edhoc::Identity;
use capmesh_session::{Config as SessionConfig, RelayEndpoint, Sessions};
use capmesh_wire::inventory::LinkKind;
use capmesh_wire::{Instant, Name, limits};
use rand_core::{OsRng, RngCore};
use std::net::SocketAddr;

/// The longest datagram: what IPv6 carries everywhere.
const MTU: usize = 1280;

/// Sessions with 64 peers, 32 exchanges, 64 observers; 16 requests of others are relayed at once.
type Link =
    RelayEndpoint<Members, OsRng, 64, 16, MTU, 32, { 32 * (MTU + 4) }, 32, 64, 512, 65_536, 16>;

pub(crate) type LinuxNode = Node<Link, Runtime>;

/// What the node is told about itself.
pub(crate) fn config(
    arguments: &Arguments,
    flash: flash::Config,
    sensors: &Sensors,
    group: Option<SocketAddr>,
) -> Config {
    let sensor = |(name, schema)| Sensor { name, schema };
    let budget = Budget {
        ram: arguments.ram,
        fuel_per_second: arguments.fuel,
        instances: arguments.instances,
    };
    Config {
        name: name(arguments.name.as_deref()).into(),
        firmware: concat!("capmesh-node ", env!("CARGO_PKG_VERSION")).into(),
        board: arguments.board.chars().take(limits::NAME).collect(),
        budget,
        group,
        link: if arguments.listen.ip().is_loopback() {
            LinkKind::Loopback
        } else {
            LinkKind::Ethernet
        },
        sensors: sensors.channels().map(sensor).collect(),
        schedule: Schedule { slice: Schedule::slice_of(&budget), events: 16 },
        // Most are short and fit a record; a few long ones find room beside the capsules.
        snapshot: (arguments.flash / 32).max(u32::from(flash.max_value())),
        flash,
        ..Config::default()
    }
}

/// The name that was given, or this machine's, in the letters that a name may have.
fn name(given: Option<&str>) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let host = host.split('.').next().unwrap_or_default();
    let letters = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = letters.take(limits::NAME).collect();
    let name = name.trim_matches('-');
    if Name::new(name).is_ok() { name.to_owned() } else { "node".to_owned() }
}

/// Starts what was found in flash.
pub(crate) fn start(boot: Boot, now: Instant, flash: &[u8]) -> Box<LinuxNode> {
    let link = link(now, boot.own().identity().clone());
    let node = boot.start(now, flash, link, Runtime::new(), OsRng.next_u64());
    Box::new(node)
}

fn link(now: Instant, identity: Identity) -> Link {
    let mut seed = [0; 16];
    OsRng.fill_bytes(&mut seed);
    let sessions = SessionConfig::for_host();
    let sessions = Sessions::new(now, sessions, identity, Members::new(), OsRng);
    let config = EndpointConfig { nstart: 8, ..EndpointConfig::default() };
    RelayEndpoint::new(Endpoint::new(config, Relaying::new(sessions), seed), "node")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_proper_name_is_a_node() {
        assert_eq!(name(Some("oven")), "oven");
        assert!(Name::new(&name(None)).is_ok());
    }
}
