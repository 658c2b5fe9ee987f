//! From a seed to a script.

use super::{Action, Kind, Part, Pipeline, Script, Shape, Swarm, Temper, fork};
use crate::Host;
use crate::net::{Way, Weather};
use crate::site::{Dice, GATEWAY, REGISTRY};
use capmesh_node::flash::nor::Tear;
use std::time::Duration;

/// Instances of one run: as many as fit a mesh of this many nodes with ease, and no more than this.
const INSTANCES: u64 = 60;

/// Nodes that join on the way, at most.
const SPARE: u64 = 3;

/// Actions of one kind in a run, at most.
const ACTIONS: usize = 1_000;

pub(super) fn script(seed: u64, shape: Shape, swarm: Swarm) -> Script {
    let mut dice = fork(seed, "shape");
    let spare = if swarm.has(Kind::Join) { 1 + dice.below(SPARE) as u16 } else { 0 };
    let core = core(&mut fork(seed, "core"), shape.nodes + spare);
    let pipelines = pipelines(seed, shape, &swarm);
    let mut writer =
        Writer { seed, shape, spare, pipelines: pipelines.clone(), actions: Vec::new() };
    for kind in Kind::ALL {
        if let Some(apart) = swarm.apart(kind) {
            writer.write(kind, apart);
        }
    }
    writer.messages();
    // By time; at the same time in the order of kinds.
    writer.actions.sort_by_key(|(at, _)| *at);
    Script { seed, shape, swarm, pipelines, spare, actions: writer.actions, core }
}

/// At least three of five nodes, so that there is room for what ran on all.
fn core(dice: &mut Dice, nodes: Host) -> Vec<Host> {
    let mut core: Vec<Host> = (1..=nodes).collect();
    let lost = dice.below(u64::from(nodes) * 2 / 5 + 1);
    for _ in 0..lost {
        let place = dice.below(core.len() as u64) as usize;
        core.remove(place);
    }
    core
}

fn pipelines(seed: u64, shape: Shape, swarm: &Swarm) -> Vec<Pipeline> {
    let mut dice = fork(seed, "pipelines");
    let most = (u64::from(shape.nodes) * 3 / 2).clamp(1, INSTANCES);
    // As often few as many.
    let octave = dice.below(u64::from(most.ilog2()) + 1);
    let drawn = (1 << octave) + dice.below(1 << octave);
    let wanted = shape.capsules.map_or(drawn.min(most), u64::from) as usize;
    let temper = temper(shape, swarm);
    let mut all = Vec::new();
    let mut left = wanted;
    while left > 0 {
        let size = (1 + dice.below(12) as usize).min(left);
        let name = format!("p{}", all.len() + 1);
        let pipeline = Pipeline::draw(&mut dice, name, size, temper);
        left = left.saturating_sub(pipeline.instances());
        all.push(pipeline);
    }
    all
}

/// Sources end at half of the time, so that all they have sent can be at its end when the run is.
fn temper(shape: Shape, swarm: &Swarm) -> Temper {
    Temper { is_hostile: swarm.has(Kind::Hostile), seconds: (shape.lasts.as_secs() / 2).max(1) }
}

struct Writer {
    seed: u64,
    shape: Shape,
    spare: Host,
    pipelines: Vec<Pipeline>,
    actions: Vec<(Duration, Action)>,
}

impl Writer {
    /// Everything of one kind.
    fn write(&mut self, kind: Kind, apart: Duration) {
        let mut dice = fork(self.seed, kind.name());
        let mut at = Duration::ZERO;
        for number in 0..ACTIONS {
            // Evenly between nothing and twice the average.
            at += Duration::from_millis(dice.below(2 * apart.as_millis() as u64));
            if at >= self.shape.lasts {
                return;
            }
            self.one(kind, number, at, &mut dice);
        }
    }

    fn one(&mut self, kind: Kind, number: usize, at: Duration, dice: &mut Dice) {
        match kind {
            Kind::Crash => self.crash(at, dice),
            Kind::Gateway => self.push(at, Action::KillGateway { down: pause(dice) }),
            Kind::Commit => {
                let (commit, is_durable) = (1 + dice.below(8), dice.below(2) == 0);
                let down = pause(dice);
                self.push(at, Action::DoomGateway { commit, is_durable, down });
            }
            Kind::Registry => self.push(at, Action::KillRegistry { down: pause(dice) }),
            Kind::Partition => self.partition(at, dice),
            Kind::Clog => {
                let (from, to) = (self.host(dice), self.host(dice));
                let lasts = pause(dice);
                self.push(at, Action::Clog { from, to, lasts });
            }
            Kind::Weather => self.push(at, Action::Weather(weather(dice))),
            Kind::Replay => {
                let count = 1 + dice.below(64) as u16;
                self.push(at, Action::Replay { count });
            }
            Kind::Forge => {
                let (to, from, seed) = (self.host(dice), self.host(dice), dice.roll());
                self.push(at, Action::Forge { to, from, seed });
            }
            Kind::Drift => {
                let (node, ppm) = (self.node(dice), dice.below(401) as i32 - 200);
                self.push(at, Action::Drift { node, ppm });
            }
            Kind::Mqtt => {
                self.push(at, Action::Mqtt { is_up: false });
                self.push(at + pause(dice), Action::Mqtt { is_up: true });
            }
            Kind::Join if number < usize::from(self.spare) => {
                let node = self.shape.nodes + 1 + number as u16;
                self.push(at, Action::Join { node });
            }
            // Never more than a quarter of the nodes.
            Kind::Revoke if number < usize::from(self.shape.nodes / 8) => {
                let node = self.node(dice);
                self.push(at, Action::Revoke { node });
            }
            Kind::Drain => {
                let node = self.node(dice);
                self.push(at, Action::Drain { node });
                self.push(at + pause(dice) * 2, Action::Undrain { node });
            }
            Kind::Migrate => {
                let (part, to) = (self.part(dice), self.node(dice));
                self.push(at, Action::Migrate { part, to });
            }
            Kind::Restart => {
                let part = self.part(dice);
                self.push(at, Action::Restart { part });
            }
            Kind::Deploy => self.deploy(at, number, dice),
            Kind::Update => self.update(at, dice),
            Kind::Hostile | Kind::Join | Kind::Revoke => {}
        }
    }

    fn push(&mut self, at: Duration, action: Action) {
        self.actions.push((at, action));
    }

    /// A node that is there from the start.
    fn node(&self, dice: &mut Dice) -> Host {
        1 + dice.below(u64::from(self.shape.nodes)) as u16
    }

    /// A node, or one of the two that are none.
    fn host(&self, dice: &mut Dice) -> Host {
        match dice.below(6) {
            0 => GATEWAY,
            1 => REGISTRY,
            _ => self.node(dice),
        }
    }

    fn part(&self, dice: &mut Dice) -> Part {
        let pipeline = dice.below(self.pipelines.len() as u64) as usize;
        self.pipelines[pipeline].part(dice)
    }

    /// A node, and sometimes some at once.
    fn crash(&mut self, at: Duration, dice: &mut Dice) {
        let count = if dice.below(8) == 0 { 1 + dice.below(4) } else { 1 };
        for _ in 0..count {
            let node = self.node(dice);
            let tear = match dice.below(5) {
                0 => Tear::Nothing,
                1 => Tear::Everything,
                2 => Tear::Front(dice.below(256) as u32),
                3 => Tear::Back(dice.below(256) as u32),
                _ => Tear::Bits(dice.roll()),
            };
            self.push(at, Action::Crash { node, tear });
            self.push(at + pause(dice), Action::Boot { node });
        }
    }

    /// Half of the hosts, or one.
    fn partition(&mut self, at: Duration, dice: &mut Dice) {
        let all = (1..=self.shape.nodes).chain([GATEWAY, REGISTRY]);
        let mut hosts: Vec<Host> = if dice.below(2) == 0 {
            all.filter(|_| dice.below(2) == 0).collect()
        } else {
            Vec::new()
        };
        if hosts.is_empty() {
            hosts.push(self.host(dice));
        }
        let way = [Way::Both, Way::Both, Way::In, Way::Out][dice.below(4) as usize];
        self.push(at, Action::Partition { hosts, way });
        self.push(at + pause(dice), Action::Heal);
    }

    /// A pipeline goes and comes back, or one comes that was not there.
    fn deploy(&mut self, at: Duration, number: usize, dice: &mut Dice) {
        if dice.below(2) == 0 {
            let place = dice.below(self.pipelines.len() as u64) as usize;
            let pipeline = self.pipelines[place].clone();
            self.push(at, Action::Undeploy { pipeline: pipeline.name.clone() });
            self.push(at + pause(dice), Action::Deploy(Box::new(pipeline)));
        } else {
            // Its sources still end with the run's.
            let seconds = self.shape.lasts.saturating_sub(at).as_secs() / 2;
            let temper = Temper { is_hostile: false, seconds: seconds.max(1) };
            let size = 1 + dice.below(4) as usize;
            let name = format!("q{}", number + 1);
            let pipeline = Pipeline::draw(dice, name.clone(), size, temper);
            self.push(at, Action::Deploy(Box::new(pipeline)));
            self.push(at + pause(dice) * 8, Action::Undeploy { pipeline: name });
        }
    }

    /// A capsule of a pipeline gets its next version.
    fn update(&mut self, at: Duration, dice: &mut Dice) {
        let place = dice.below(self.pipelines.len() as u64) as usize;
        let pipeline = &mut self.pipelines[place];
        let capsule = dice.below(pipeline.capsules.len() as u64) as usize;
        pipeline.capsules[capsule].version += 1;
        let pipeline = Box::new(pipeline.clone());
        self.push(at, Action::Deploy(pipeline));
    }

    /// What comes from MQTT for the pipelines that listen.
    fn messages(&mut self) {
        let topics: Vec<_> = self.pipelines.iter().filter_map(Pipeline::topic).collect();
        for topic in topics {
            let mut dice = fork(self.seed, &topic);
            let apart = 500 << dice.below(5);
            let mut at = Duration::ZERO;
            for number in 1..=ACTIONS as u64 {
                at += Duration::from_millis(1 + dice.below(2 * apart));
                if at >= self.shape.lasts / 2 {
                    break;
                }
                self.push(at, Action::Message { topic: topic.clone(), number });
            }
        }
    }
}

/// How long something is away: mostly short, sometimes half a minute.
fn pause(dice: &mut Dice) -> Duration {
    let longest = 50 << dice.below(10);
    Duration::from_millis(1 + dice.below(longest))
}

/// Fair in a third of all cases; else each trouble is there or not.
fn weather(dice: &mut Dice) -> Weather {
    if dice.below(3) == 0 {
        return Weather::default();
    }
    let mut part = |most: u64| if dice.below(2) == 0 { dice.below(most) as u16 } else { 0 };
    let (loss, duplication, reordering) = (part(300), part(200), part(300));
    let (corruption, slowest) = (part(50), part(20_000));
    Weather { loss, duplication, reordering, corruption, delay: 0..u64::from(slowest) }
}
