//! What nodes have and capsules want, as words that can be compared.

use capmesh_wire::SchemaTag;
use capmesh_wire::inventory::Inventory;
use capmesh_wire::manifest::Capsule;
use std::collections::BTreeSet;

/// What capsules want of a node, or nodes have.
///
/// A sensor that a capsule reads is wanted with the schema of its samples (`cpu` as `cpu#1a2b3c4d`), an
/// actuator with its unit (`lamp#lm`); what a pipeline wants beside is wanted by name alone. Digital
/// inputs stand among the sensors, as `~name`. [`Demands::shown`] turns such a word into one for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Sensors.
    pub sensors: BTreeSet<String>,
    /// Actuators.
    pub actuators: BTreeSet<String>,
}

impl Demands {
    /// What a capsule reads and sets.
    #[must_use]
    pub fn of(capsule: &Capsule<'_>) -> Self {
        let sensor = |port: capmesh_wire::manifest::Port<'_>| {
            let tag = capsule.schema(port.schema).map(|schema| schema.id().tag());
            with_schema(port.name.as_str(), tag)
        };
        let sources = capsule.sources.iter().map(|name| format!("~{name}"));
        let actuators = capsule.actuators.iter().map(|a| format!("{}#{}", a.name, a.unit));
        Self {
            sensors: capsule.sensors.iter().map(sensor).chain(sources).collect(),
            actuators: actuators.collect(),
        }
    }

    /// A word as people know it: the name alone.
    #[must_use]
    pub fn shown(word: &str) -> &str {
        let name = word.split_once('#').map_or(word, |(name, _)| name);
        name.strip_prefix('~').unwrap_or(name)
    }
}

fn with_schema(name: &str, tag: Option<SchemaTag>) -> String {
    tag.map_or_else(|| name.to_owned(), |tag| format!("{name}#{tag:?}"))
}

/// What there is on the nodes of a site, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// What there is.
    pub there: Demands,
    /// Whether what is not there is no mistake: for pipelines that run, whose nodes may come back.
    pub is_open: bool,
}

impl Offers {
    /// Adds what a node has.
    pub fn add(&mut self, inventory: &Inventory<'_>) {
        for sensor in inventory.sensors {
            self.there.sensors.insert(sensor.name.as_str().to_owned());
            self.there.sensors.insert(with_schema(sensor.name.as_str(), Some(sensor.schema)));
        }
        let sources = inventory.sources.iter().map(|name| format!("~{name}"));
        self.there.sensors.extend(sources);
        for actuator in inventory.actuators {
            self.there.actuators.insert(actuator.name.as_str().to_owned());
            self.there.actuators.insert(format!("{}#{}", actuator.name, actuator.unit));
        }
    }

    /// What one node has.
    #[must_use]
    pub fn of(inventory: &Inventory<'_>) -> Self {
        let mut offers = Self::default();
        offers.add(inventory);
        offers
    }
}
