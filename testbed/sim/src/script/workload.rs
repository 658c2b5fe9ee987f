//! What a mesh is given to do: pipelines, drawn by chance.

use super::recipe::Recipe;
use crate::site::Dice;
use std::fmt::{self, Write};

/// A pipeline as the script has it; [`Pipeline::text`] is what the gateway is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its capsules, each fed by those before it.
    pub capsules: Vec<Capsule>,
    /// Its wires.
    pub wires: Vec<Wire>,
    /// Capsules whose output goes to MQTT, and whether every message does.
    pub publish: Vec<(usize, bool)>,
    /// A capsule whose input an MQTT topic goes to.
    pub subscribe: Option<usize>,
}

/// A capsule of a pipeline. Its name is `c` and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// What it does.
    pub recipe: Recipe,
    /// Which version of it.
    pub version: u16,
    /// How many instances of it run.
    pub replicas: u8,
    /// What becomes of it when its node is lost.
    pub failover: Failover,
    /// How long it runs without the gateway, in seconds; for ever if absent.
    pub lease: Option<u16>,
    /// Whether an older version may replace a newer one.
    pub rollback: bool,
}

/// What becomes of a capsule when its node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// It waits for its node.
    None,
    /// It starts afresh elsewhere.
    Restart,
    /// It goes on elsewhere with the state that was saved last, so many seconds apart.
    Checkpoint(u16),
}

/// A wire between two capsules of a pipeline, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Whose output.
    pub from: usize,
    /// Whose input.
    pub to: usize,
    /// Whether every message comes through, or only the latest.
    pub every: bool,
}

/// An instance, by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its pipeline.
    pub pipeline: String,
    /// Its capsule's place.
    pub capsule: usize,
    /// Which of its replicas.
    pub replica: u8,
}

/// What capsules may be like.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// Whether some trap, loop or want too much memory.
    pub is_hostile: bool,
    /// For how many seconds sources send.
    pub seconds: u64,
}

impl Pipeline {
    /// A pipeline of so many capsules.
    #[must_use]
    pub fn draw(dice: &mut Dice, name: String, capsules: usize, temper: Temper) -> Self {
        let count = capsules.max(1);
        let sources = 1 + dice.below(1 + count as u64 / 4) as usize;
        let mut all = Vec::with_capacity(count);
        let mut wires: Vec<Wire> = Vec::new();
        for place in 0..count {
            let inputs = if place < sources.min(count) { 0 } else { 1 + dice.below(8) / 6 };
            for _ in 0..inputs {
                let wire =
                    Wire { from: feeder(dice, &all, place), to: place, every: dice.below(4) > 0 };
                if !wires.iter().any(|other| (other.from, other.to) == (wire.from, wire.to)) {
                    wires.push(wire);
                }
            }
            let is_last = place + 1 == count;
            all.push(Capsule::draw(dice, inputs == 0, is_last, temper));
        }
        let ends = |capsule: &Capsule| capsule.recipe.has_output();
        let publish = (0..count).filter(|place| ends(&all[*place]) && dice.below(4) == 0);
        let publish: Vec<_> = publish.collect();
        let publish = publish.into_iter().map(|place| (place, dice.below(2) == 0)).collect();
        let fed = (0..count).find(|place| all[*place].recipe.has_input());
        let subscribe = fed.filter(|_| dice.below(3) == 0);
        Self { name, capsules: all, wires, publish, subscribe }
    }

    /// What the gateway is given.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("[pipeline]\nname = \"{}\"\n", self.name);
        for (place, capsule) in self.capsules.iter().enumerate() {
            let _ = write!(text, "\n[[capsule]]\nname = \"c{place}\"\n{}", capsule.text());
        }
        for Wire { from, to, every } in &self.wires {
            let _ = write!(
                text,
                "\n[[wire]]\nfrom = \"c{from}.out\"\nto = \"c{to}.in\"\ndelivery = \"{}\"\n",
                delivery(*every),
            );
        }
        if self.publish.is_empty() && self.subscribe.is_none() {
            return text;
        }
        text.push_str("\n[bridge]\n");
        let publish = self.publish.iter().map(|(place, every)| {
            format!("{{ from = \"c{place}.out\", delivery = \"{}\" }}", delivery(*every))
        });
        let _ = writeln!(text, "publish = [{}]", publish.collect::<Vec<_>>().join(", "));
        if let (Some(topic), Some(place)) = (self.topic(), self.subscribe) {
            let _ = writeln!(
                text,
                "subscribe = {{ \"{topic}\" = {{ to = \"c{place}.in\", delivery = \"every\" }} }}"
            );
        }
        text
    }

    /// The MQTT topic that it listens to.
    #[must_use]
    pub fn topic(&self) -> Option<String> {
        self.subscribe.map(|_| format!("sim/{}", self.name))
    }

    /// An instance of it, by chance.
    #[must_use]
    pub fn part(&self, dice: &mut Dice) -> Part {
        let capsule = dice.below(self.capsules.len() as u64) as usize;
        let replicas = self.capsules[capsule].replicas;
        let replica = dice.below(u64::from(replicas)) as u8;
        Part { pipeline: self.name.clone(), capsule, replica }
    }

    /// How many instances of it there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.capsules.iter().map(|capsule| usize::from(capsule.replicas)).sum()
    }
}

/// Whose output goes to the capsule at a place: most often one shortly before it, so that there are chains.
fn feeder(dice: &mut Dice, before: &[Capsule], place: usize) -> usize {
    let back =
        if dice.below(3) == 0 { dice.below(place as u64) } else { dice.below(2.min(place as u64)) };
    let first = place - 1 - back as usize;
    (0..=first).rev().find(|from| before[*from].recipe.has_output()).unwrap_or(0)
}

fn delivery(every: bool) -> &'static str {
    if every { "every" } else { "latest" }
}

impl Capsule {
    fn draw(dice: &mut Dice, is_source: bool, is_last: bool, temper: Temper) -> Self {
        let recipe = if is_source {
            let millis = 200 << dice.below(6);
            Recipe::Source {
                millis,
                count: (temper.seconds * 1_000 / u64::from(millis)).max(1) as u32,
            }
        } else if temper.is_hostile && dice.below(5) == 0 {
            let nth = [3, 7, 20][dice.below(3) as usize];
            [Recipe::Trap { nth }, Recipe::Loop { nth }, Recipe::Hog { nth }]
                [dice.below(3) as usize]
        } else if is_last || dice.below(4) == 0 {
            Recipe::Sink
        } else {
            Recipe::Adder
        };
        let failover = match dice.below(3) {
            0 => Failover::None,
            1 => Failover::Restart,
            _ => Failover::Checkpoint([5, 30][dice.below(2) as usize]),
        };
        let replicas = if dice.below(6) == 0 { 2 } else { 1 };
        let lease = (dice.below(6) == 0).then(|| [20, 60][dice.below(2) as usize]);
        let rollback = dice.below(2) == 0;
        Self { recipe, version: 1, replicas, failover, lease, rollback }
    }

    fn text(&self) -> String {
        let Self { recipe, version, replicas, failover, lease, rollback } = self;
        let mut text = format!("use = \"{}:{version}\"\nreplicas = {replicas}\n", recipe.name());
        let _ = writeln!(text, "rollback = {rollback}");
        text.push_str(&match failover {
            Failover::None => "failover = \"none\"\n".to_owned(),
            Failover::Restart => "failover = \"restart\"\n".to_owned(),
            Failover::Checkpoint(every) => {
                format!("failover = \"checkpoint\"\ncheckpoint = \"{every}s\"\n")
            }
        });
        if let Some(seconds) = lease {
            let _ = writeln!(text, "lease = \"{seconds}s\"");
        }
        text
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} instances:", self.name, self.instances())?;
        for (place, capsule) in self.capsules.iter().enumerate() {
            write!(f, " c{place}={}:{}", capsule.recipe.name(), capsule.version)?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/c{}/{}", self.pipeline, self.capsule, self.replica)
    }
}
