//! What can be done to a mesh.

use super::{Happening, World};
use crate::Host;
use crate::event::Event;
use crate::machine::Machine;
use crate::net::{Datagram, Way};
use crate::site::{GATEWAY, REGISTRY, address, node_id};
use capmesh_coap::endpoint::Via;
use capmesh_node::Config;
use capmesh_node::flash::nor::{Nor, Tear};
use capmesh_wire::Instant;
use std::time::Duration;

/// Nodes, gateway and registry.
impl World {
    /// Adds a node that belongs to no site and is off. Returns its number.
    pub fn join(&mut self, config: &Config) -> Host {
        self.add(config, Nor::new(config.flash.geometry, config.flash.bytes()))
    }

    pub(super) fn add(&mut self, config: &Config, flash: Nor) -> Host {
        let n = self.machines.len() as Host + 1;
        self.machines.push(Machine::new(n, config.clone(), flash));
        self.net.attach(n);
        self.gate.ids.insert(node_id(n), n);
        n
    }

    /// The power of a node comes back, if it was gone.
    pub fn boot(&mut self, n: Host) {
        let (now, seed) = (self.now, self.seed_of(n));
        if self.machine(n).is_on() {
            return;
        }
        self.machine(n).boot(now, seed);
        let boots = self.machine(n).boots;
        self.emit(Event::Booted { host: n, boots });
        self.schedule.touch(n);
    }

    fn seed_of(&self, n: Host) -> u64 {
        crate::site::Dice(self.seed).fork(n.into()).0
    }

    /// The power of a node goes, in the middle of whatever it is doing; `tear` is what happens to the
    /// write that is in flight.
    pub fn crash(&mut self, n: Host, tear: Tear) {
        if self.machine(n).is_on() {
            self.machine(n).crash(tear);
            self.emit(Event::Crashed { host: n });
        }
        self.schedule.touch(n);
    }

    /// The gateway is killed; it starts again after [`World::downtime`].
    pub fn kill_gateway(&mut self) {
        self.gate.kill();
        self.gateway_is_gone();
    }

    pub(super) fn gateway_is_gone(&mut self) {
        if self.restarts[0].is_none() {
            self.emit(Event::Crashed { host: GATEWAY });
            self.restart_later(0, GATEWAY);
        }
    }

    /// The registry is killed; it starts again after [`World::downtime`].
    pub fn kill_registry(&mut self) {
        if self.restarts[1].is_none() {
            self.registry.kill();
            self.emit(Event::Crashed { host: REGISTRY });
            self.restart_later(1, REGISTRY);
        }
    }

    fn restart_later(&mut self, place: usize, host: Host) {
        let at = self.now + self.downtime;
        self.restarts[place] = Some(at);
        self.schedule.add(at, Happening::Starts(host));
        self.schedule.touch(host);
    }

    pub(super) fn start_gateway(&mut self) {
        self.restarts[0] = None;
        self.gate.start(self.now);
        self.emit(Event::Booted { host: GATEWAY, boots: self.gate.starts as u32 });
        self.schedule.touch(GATEWAY);
    }

    pub(super) fn start_registry(&mut self) {
        self.restarts[1] = None;
        self.registry.start(self.now);
        self.emit(Event::Booted { host: REGISTRY, boots: self.registry.starts as u32 });
        self.schedule.touch(REGISTRY);
    }

    /// Somebody's clock runs too fast by so many millionths from now on.
    pub fn drift(&mut self, host: Host, ppm: i32) {
        let now = self.now;
        match host {
            GATEWAY => self.gate.drift(now, ppm),
            REGISTRY => self.registry.drift(now, ppm),
            n => self.machine(n).drift(now, ppm),
        }
        self.schedule.touch(host);
    }

    /// The connection to the MQTT broker comes or goes.
    pub fn mqtt(&mut self, is_connected: bool) {
        self.gate.connect(self.now, is_connected);
        self.schedule.touch(GATEWAY);
    }

    /// Somebody publishes a message, which the broker gives to the gateway if it is connected. Returns
    /// whether it is.
    pub fn mqtt_message(&mut self, topic: &str, payload: &[u8]) -> bool {
        if !self.gate.is_connected || self.gate.gateway.is_none() {
            return false;
        }
        self.emit(Event::FromMqtt { topic: topic.into(), payload: payload.into() });
        let (response_topic, correlation, retain) = (None, None, false);
        let input =
            capmesh_gateway::Input::Mqtt { topic, payload, response_topic, correlation, retain };
        self.gate.handle(self.now, input);
        self.schedule.touch(GATEWAY);
        true
    }

    /// The script does something, for people.
    pub fn note(&mut self, what: &str) {
        self.emit(Event::Done { what: what.into() });
    }
}

/// The network. What goes wrong by chance is in [`Net::weather`](crate::Net::weather).
impl World {
    /// Separates hosts from all others; among each other they hear each other.
    pub fn partition(&mut self, hosts: &[Host], way: Way) {
        self.net.cuts().partition(hosts, way);
    }

    /// Separates two hosts; with [`Way::In`], `a` does not hear `b`, with [`Way::Out`] the other way
    /// round.
    pub fn part(&mut self, a: Host, b: Host, way: Way) {
        if way != Way::In {
            self.net.cuts().pair(a, b);
        }
        if way != Way::Out {
            self.net.cuts().pair(b, a);
        }
    }

    /// Two hosts that were [parted](World::part) hear each other again.
    pub fn heal_pair(&mut self, a: Host, b: Host) {
        self.net.cuts().heal_pair(a, b);
        self.net.cuts().heal_pair(b, a);
    }

    /// Everybody who could hear each other can again; what was clogged is not from now on.
    pub fn heal(&mut self) {
        self.net.cuts().heal();
    }

    /// What one sends another from now on stays under way for so long.
    pub fn clog(&mut self, from: Host, to: Host, duration: Duration) {
        let until: Instant = self.now + duration;
        self.net.cuts().clog(from, to, until);
    }

    /// Somebody sends a datagram in another's name, to whom it comes soon.
    pub fn inject(&mut self, from: Host, to: Host, bytes: &[u8]) {
        let (from, via, bytes) = (address(from), Via::Unicast, bytes.into());
        let at = self.now + Duration::from_micros(self.dice.below(5_000));
        self.schedule.add(at, Happening::Arrival(Datagram { from, to, via, bytes }));
    }

    /// Somebody who has listened sends the last `count` datagrams again, or as many as are remembered.
    pub fn replay(&mut self, count: usize) {
        let heard: Vec<_> = self.net.recent().take(count).cloned().collect();
        for datagram in heard {
            let at = self.now + Duration::from_micros(self.dice.below(5_000));
            self.schedule.add(at, Happening::Arrival(datagram));
        }
    }
}
