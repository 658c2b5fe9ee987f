//! What a person writes: a pipeline, as TOML.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! # What may stand where
//! | in | key | meaning | if absent |
//! |---|---|---|---|
//! | `[pipeline]` | `name` | the first part of all its topics | must be there |
//! | | `doc` | a sentence | none |
//! | `[[capsule]]` | `name` | what the pipeline calls it: the second part of its topics | must be there |
//! | | `use` | a capsule in the registry, by tag (`city/clean:1`) or digest (`city/clean@sha256:...`) | must be there |
//! | | `replicas` | how many instances of it run | 1 |
//! | | `needs` | sensors and actuators that its node is to have beside those that it reads and sets: `sensor`, `actuator`, each a name or a list of names | none |
//! | | `config` | its settings, by their names | the capsule's defaults |
//! | | `peers` | the capsules of this pipeline behind the names that it asks | must be there if it asks |
//! | | `lease` | how long it runs without hearing of the gateway: a time, or `none` for ever | `none` |
//! | | `failover` | what becomes of it when its node is lost: `restart`, `checkpoint`, `none` | `checkpoint` if that is set, else `restart` |
//! | | `checkpoint` | how often its state is saved: a time | `30s` if `failover` is `checkpoint` |
//! | | `affinity` | `together`, `apart`: capsules whose node it shares, or must not; `labels`: words that its node's owner has given the node | none |
//! | | `optional` | whether it is left out, with its wires, where no node has its sensors and actuators | `false` |
//! | | `rollback` | whether an older capsule of that name may replace a newer one | `false` |
//! | `[[wire]]` | `from`, `to` | an output and an input: `capsule.output`, `capsule.input`; `to` may be a list | must be there |
//! | | `delivery` | `latest`: the newest wins; `every`: nothing lost, nothing twice, in order | `latest` |
//! | | `overflow` | what a full outbox does on an `every` wire: `pause-producer`, `drop-oldest`, `drop-newest` | `pause-producer` |
//! | | `replicas` | which replicas it joins ([`Replicas`]): `all`, `paired` | `all` |
//! | | `rate` | messages a second that are expected, for placement | 1 |
//! | `[bridge]` | `publish` | the outputs that go to MQTT: names, or tables `{ from, delivery, overflow, rate }` | none |
//! | | `subscribe` | the inputs that MQTT topics go to: a name, a list of names, or a table `{ to, delivery, rate }` for each topic | none |
//!
//! Times are a number and `ms`, `s`, `m` or `h`. A `capsule.output` that is published appears at
//! `pipeline/capsule/output`.
//!
//! # Mistakes
//! All mistakes are reported at once, each with file, line and column, what was meant to stand there,
//! and the nearest name that exists. What only a capsule's manifest can tell (whether it has that
//! input, whether the schemas match) is checked against the [catalog](crate::catalog).
//!
//! # Bounds
//! A text has at most [`TEXT`] bytes, and no more than [`CAPSULES`] capsules, [`WIRES`] wires and
//! [`REPLICAS`] replicas of each capsule. The work is the text's length times the number of names in it.

mod parse;
#[cfg(test)]
mod tests;

use capmesh_description::Faults;
use capmesh_description::document::{Collector, File};
pub use capmesh_wire::plan::{Delivery, Failover, Overflowing};
use std::ops::{Deref, Range};
use std::path::Path;

/// Bytes of a pipeline's text: a page for each of its capsules.
pub const TEXT: usize = 64 << 10;

/// Capsules of a pipeline.
pub const CAPSULES: usize = 64;

/// Wires of a pipeline, and outputs that it publishes, and topics that it subscribes to.
pub const WIRES: usize = 256;

/// Instances of one capsule in one pipeline.
pub const REPLICAS: u8 = 64;

/// Bytes of an MQTT topic.
pub const MQTT_TOPIC: usize = 256;

/// A pipeline whose names all refer to something within it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// What it is called.
    pub name: Spot<String>,
    /// What it is for, in a sentence.
    pub doc: Option<String>,
    /// Its capsules, in the order of the text.
    pub capsules: Vec<Capsule>,
    /// Its wires, in the order of the text; one for each input that a wire of the text names.
    pub wires: Vec<Wire>,
    /// What goes to MQTT.
    pub publish: Vec<Publish>,
    /// What comes from MQTT; one for each input that a topic of the text goes to.
    pub subscribe: Vec<Subscribe>,
    /// What the file is called, in mistakes.
    pub path: String,
    /// The text that it was read from: the pipeline's durable form.
    pub text: String,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot<T> {
    /// The value.
    pub value: T,
    /// Its place, in bytes of the text.
    pub span: Range<usize>,
}

impl<T> Deref for Spot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A capsule of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Capsule {
    /// What the pipeline calls it.
    pub name: Spot<String>,
    /// Which capsule it is: the text of a [`CapsuleRef`](capmesh_wire::CapsuleRef).
    pub uses: Spot<String>,
    /// How many instances of it run.
    pub replicas: u8,
    /// Sensors that its node has, beside those that it reads.
    pub sensors: Vec<Spot<String>>,
    /// Actuators that its node has, beside those that it sets.
    pub actuators: Vec<Spot<String>>,
    /// Its settings.
    pub config: Vec<Setting>,
    /// What it calls a capsule that it asks, and that capsule.
    pub peers: Vec<(Spot<String>, Spot<String>)>,
    /// How long it runs without hearing of the gateway, in milliseconds; for ever if absent.
    pub lease_ms: Option<u32>,
    /// What becomes of it when its node is lost.
    pub failover: Failover,
    /// How often its state is saved, in milliseconds.
    pub checkpoint_ms: Option<u32>,
    /// Capsules whose node it shares, replica by replica.
    pub together: Vec<Spot<String>>,
    /// Capsules whose nodes it must not be on; with its own name, its replicas among each other.
    pub apart: Vec<Spot<String>>,
    /// Words that its node has.
    pub labels: Vec<Spot<String>>,
    /// Whether it is left out where no node has its sensors and actuators.
    pub optional: bool,
    /// Whether an older capsule of that name may replace a newer one.
    pub rollback: bool,
}

/// A setting of a capsule.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// What the capsule calls it.
    pub name: Spot<String>,
    /// What it is set to.
    pub value: Spot<Value>,
}

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A switch.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
}

/// One end of a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The capsule, by its name in the pipeline.
    pub capsule: String,
    /// Its output or input.
    pub port: String,
    /// Where it stands, in bytes of the text.
    pub span: Range<usize>,
}

/// A wire between two capsules.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    /// The output that it begins at.
    pub from: End,
    /// The input that it ends at.
    pub to: End,
    /// What it promises.
    pub delivery: Delivery,
    /// What a full outbox does.
    pub overflow: Overflowing,
    /// Which replicas it joins.
    pub replicas: Replicas,
    /// Messages a second that are expected of one replica, for placement.
    pub rate: f64,
}

/// Which replicas a wire joins.
///
/// By default every producer sends to every consumer: replicas of a consumer each see everything, as
/// a second display would. To share work between replicas, pair them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replicas {
    /// Every replica of the producer to every replica of the consumer.
    #[default]
    All,
    /// Replica 0 to replica 0, 1 to 1 and so on; where one side has fewer, it begins anew at its 0, so
    /// that every replica of both sides has a wire.
    Paired,
}

impl Replicas {
    /// The pairs of replicas that a wire joins, in order.
    #[must_use]
    pub fn pairs(self, producers: u8, consumers: u8) -> Vec<(u8, u8)> {
        match self {
            Self::All => {
                (0..producers).flat_map(|from| (0..consumers).map(move |to| (from, to))).collect()
            }
            Self::Paired if producers == 0 || consumers == 0 => Vec::new(),
            Self::Paired => {
                (0..producers.max(consumers)).map(|n| (n % producers, n % consumers)).collect()
            }
        }
    }
}

/// An output that goes to MQTT.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The output.
    pub from: End,
    /// What is promised on the way to the gateway.
    pub delivery: Delivery,
    /// What a full outbox does.
    pub overflow: Overflowing,
    /// Messages a second that are expected of one replica.
    pub rate: f64,
}

/// An MQTT topic that goes to an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// The topic, without wildcards.
    pub topic: Spot<String>,
    /// The input.
    pub to: End,
    /// What is promised on the way from the gateway.
    pub delivery: Delivery,
    /// Messages a second that are expected.
    pub rate: f64,
}

impl Pipeline {
    /// Reads a pipeline. `path` is what its file is called in mistakes.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(path: &str, text: &str) -> Result<Self, Faults> {
        let collector = Collector::default();
        let too_long = text.len() > TEXT;
        let file = File::of(
            Path::new(path),
            if too_long { String::new() } else { text.to_owned() },
            &collector,
        );
        let pipeline = if too_long {
            file.fault(&(0..0), format!("a pipeline has at most {TEXT} bytes"));
            None
        } else {
            parse::parse(&file)
        };
        collector.finish(pipeline)
    }

    /// The capsule with this name.
    #[must_use]
    pub fn capsule(&self, name: &str) -> Option<&Capsule> {
        self.capsules.iter().find(|capsule| capsule.name.value == name)
    }
}
