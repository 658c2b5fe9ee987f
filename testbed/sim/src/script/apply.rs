//! Makes things happen to a [`World`].

use super::{Action, Part, Pipeline, Script};
use crate::Host;
use crate::capsules;
use crate::event::Event;
use crate::gate::Doom;
use crate::net::Weather;
use crate::site::{Dice, name};
use crate::world::World;
use capmesh_gateway::api::{Deploy, InstanceRef, Migrate, OnInstance, OnNode, OnPipeline, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_node::trace::print;

/// Nodes of a site that may have to adopt them first.
const ADOPTED: Host = 20;

/// Bytes of a forged datagram, at most.
const FORGED: u64 = 200;

impl World {
    /// The mesh that a script begins with: all nodes of its shape are of the site, and nothing runs. A
    /// small one of every fourth seed has them adopted, others have had them for long.
    #[must_use]
    pub fn of(script: &Script) -> Self {
        let (config, nodes) = (capsules::config(), script.shape.nodes);
        let mut world = if nodes <= ADOPTED && script.seed.is_multiple_of(4) {
            let mut world = Self::new(script.seed, nodes, &config);
            (1..=nodes).for_each(|n| world.adopt(n));
            world
        } else {
            Self::settled(script.seed, nodes, &config)
        };
        for _ in 0..script.spare {
            let n = world.join(&config);
            world.boot(n);
        }
        world
    }

    /// Makes something happen. What people ask of the gateway is asked once: while it is down, in vain.
    pub fn apply(&mut self, action: &Action) {
        self.note(&action.to_string());
        match action {
            Action::Crash { node, tear } => self.crash(*node, *tear),
            Action::Boot { node } => self.boot(*node),
            Action::KillGateway { down } => {
                self.downtime = *down;
                self.kill_gateway();
            }
            Action::DoomGateway { commit, is_durable, down } => {
                self.downtime = *down;
                let number = self.gate.commits + commit;
                let doom = if *is_durable { Doom::After } else { Doom::Before };
                self.gate.doom = Some(doom(number));
            }
            Action::KillRegistry { down } => {
                self.downtime = *down;
                self.kill_registry();
            }
            Action::Partition { hosts, way } => self.partition(hosts, *way),
            Action::Heal => self.heal(),
            Action::Clog { from, to, lasts } => self.clog(*from, *to, *lasts),
            Action::Weather(weather) => self.net.weather = weather.clone(),
            Action::Replay { count } => self.replay(usize::from(*count)),
            Action::Forge { to, from, seed } => self.forge(*from, *to, *seed),
            Action::Drift { node, ppm } => self.drift(*node, *ppm),
            Action::Mqtt { is_up } => self.mqtt(*is_up),
            Action::Message { topic, number } => {
                let payload = format!("{{\"n\": {number}}}");
                self.mqtt_message(topic, payload.as_bytes());
            }
            asked => self.tell(asked),
        }
    }

    /// What people ask of the gateway.
    fn tell(&mut self, action: &Action) {
        let request = match action {
            Action::Join { node } => Self::adoption(*node),
            Action::Revoke { node } => Request::Revoke(on(*node)),
            Action::Drain { node } => Request::Drain(on(*node)),
            Action::Undrain { node } => Request::Undrain(on(*node)),
            Action::Deploy(pipeline) => {
                self.push(pipeline);
                Request::Deploy(Deploy { text: pipeline.text(), file: None, dry_run: false })
            }
            Action::Undeploy { pipeline } => {
                Request::Undeploy(OnPipeline { pipeline: pipeline.clone() })
            }
            Action::Migrate { part, to } => {
                Request::Migrate(Migrate { instance: instance(part), to: name(*to) })
            }
            Action::Restart { part } => Request::Restart(OnInstance { instance: instance(part) }),
            _ => return,
        };
        self.begin_ask(&request);
    }

    /// Puts the capsules of a pipeline into the registry.
    fn push(&mut self, pipeline: &Pipeline) {
        for capsule in &pipeline.capsules {
            let tag = format!("{}:{}", capsule.recipe.name(), capsule.version);
            if !self.registry.has(&tag) {
                // Half of all names are scripts, in all versions.
                let name = print(capsule.recipe.name().as_bytes());
                let is_script = Dice(self.seed).fork(name).chance(500);
                self.registry.push(&tag, &capsule.recipe.pack(capsule.version, is_script));
            }
        }
    }

    /// Noise, or noise behind the head of a message, or a message that was heard with some bytes changed.
    fn forge(&mut self, from: Host, to: Host, seed: u64) {
        let mut dice = Dice(seed);
        let len = 1 + dice.below(FORGED) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
        match dice.below(3) {
            0 => {}
            // Confirmable POST with a token of two bytes.
            1 => bytes.iter_mut().zip([0x42, 0x02]).for_each(|(byte, head)| *byte = head),
            _ => {
                let heard = self.net.recent().find(|datagram| datagram.to == to);
                if let Some(heard) = heard {
                    bytes = heard.bytes.to_vec();
                    for _ in 0..=dice.below(4) {
                        let at = dice.below(bytes.len() as u64) as usize;
                        bytes[at] ^= dice.roll() as u8;
                    }
                }
            }
        }
        self.inject(from, to, &bytes);
    }

    /// Ends all trouble: the net is whole and fair, who belongs to the core is on, and all other nodes are
    /// off for good. Clocks go on as they do.
    pub fn mend(&mut self, core: &[Host]) {
        self.heal();
        self.net.weather = Weather::default();
        self.gate.doom = None;
        self.mqtt(true);
        for n in 1..=self.machines.len() as Host {
            if core.contains(&n) {
                self.boot(n);
            } else {
                self.crash(n, Tear::Nothing);
            }
        }
        let nodes = 1..=self.machines.len() as Host;
        let without: Vec<Host> = nodes.filter(|n| !core.contains(n)).collect();
        self.emit(Event::Healed { without: without.into() });
    }
}

pub(crate) fn on(node: Host) -> OnNode {
    OnNode { node: name(node) }
}

fn instance(part: &Part) -> InstanceRef {
    InstanceRef::place(&part.pipeline, &format!("c{}", part.capsule), part.replica)
}
