//! What a capsule is and needs.

use crate::cbor::macros::{record, tuple};
use crate::cbor::{DecodeError, List};
use crate::digest::Digest;
use crate::schema::{Fields, Schema, Unit, check_fields};
use crate::text::{Name, Tag, are_distinct};
use crate::{format, limits};

record! {
    /// A capsule's description. Inputs, outputs, sensors and so on are numbered by their place in
    /// their list, from 0: those numbers are what a capsule calls them by.
    pub struct Capsule<'a> check check_capsule {
        /// [`format::CAPSULE`].
        0 => format: u8,
        /// The capsule's version, for people.
        1 => version: Tag<'a>,
        /// The version of the contract between capsule and node that the module was built for.
        2 => abi: u16,
        /// The module's chunk length as a power of two (see [`BlobRef`](crate::BlobRef)).
        3 => chunk_log2: u8,
        /// The digest of the top of the module's digest pages (see [`BlobRef`](crate::BlobRef)).
        4 => root: Digest,
        /// What it costs to run.
        5 => needs: Needs,
        /// The schemas that ports and services refer to.
        6 => schemas: List<'a, Schema<'a>, { limits::SCHEMAS }>,
        /// Where messages arrive.
        7 => inputs: List<'a, Port<'a>, { limits::PORTS }>,
        /// Where messages leave.
        8 => outputs: List<'a, Port<'a>, { limits::PORTS }>,
        /// The sensors that it reads.
        9 => sensors: List<'a, Port<'a>, { limits::CHANNELS }>,
        /// The actuators that it sets.
        10 => actuators: List<'a, Actuator<'a>, { limits::CHANNELS }>,
        /// The digital inputs whose changes it hears of.
        11 => sources: List<'a, Name<'a>, { limits::CHANNELS }>,
        /// The capsules that it asks.
        12 => peers: List<'a, Peer<'a>, { limits::PEERS }>,
        /// What it can be asked itself: CoAP resources.
        13 => services: List<'a, Service<'a>, { limits::SERVICES }>,
        /// The configuration values that it reads. An optional one has a default in the capsule.
        14 => config: Fields<'a>,
        /// Which layout its state has; absent if it keeps none worth a snapshot.
        15 => state: Option<StateLayout>,
    }
}

record! {
    /// What an instance costs, predicted by running it: a node admits it only if it has as much left.
    pub struct Needs {
        /// Linear memory, in bytes, at its largest.
        0 => memory: u32,
        /// All of an instance's RAM, in bytes: linear memory, translated code, the interpreter's
        /// structures, inbox and outbox.
        1 => ram: u32,
        /// Fuel that it takes in a second under the load that it is made for.
        2 => fuel_per_second: u32,
        /// Fuel after which a handler has gone wrong and is ended.
        3 => fuel_per_handler: u32,
        /// Bytes that one handler leaves in the outbox.
        4 => outbox_bytes: u16,
        /// Entries that one handler leaves in the outbox.
        5 => outbox_entries: u8,
        /// Timers that run at one time.
        6 => timers: u8,
        /// Elements of all tables.
        7 => table_elements: u16,
    }
}

tuple! {
    /// A named place for messages or samples of one schema.
    pub struct Port<'a> {
        /// Its name, unique among those of its kind.
        name: Name<'a>,
        /// The number of its schema in [`Capsule::schemas`].
        schema: u8,
    }
}

tuple! {
    /// Something that can be set to a number.
    pub struct Actuator<'a> {
        /// Its name.
        name: Name<'a>,
        /// What the number means.
        unit: Unit,
    }
}

tuple! {
    /// A resource: a request, and the response to it.
    pub struct Service<'a> {
        /// Its name: the last segment of its path.
        name: Name<'a>,
        /// The number of the schema of a request's payload in [`Capsule::schemas`], if it has one.
        request: Option<u8>,
        /// The number of the schema of a response's payload, if it has one.
        response: Option<u8>,
    }
}

tuple! {
    /// A capsule that this one asks, by the name that a pipeline ties to an instance.
    pub struct Peer<'a> {
        /// What this capsule calls it.
        name: Name<'a>,
        /// What it asks of it.
        services: List<'a, Service<'a>, { limits::SERVICES }>,
    }
}

tuple! {
    /// Which state a capsule can go on from.
    pub struct StateLayout check check_state {
        /// The version of the layout that it keeps.
        version: u16,
        /// The oldest version that it can be restored from.
        oldest: u16,
    }
}

impl StateLayout {
    /// Whether state of layout `version` can be restored into a capsule with this layout.
    #[must_use]
    pub const fn accepts(&self, version: u16) -> bool {
        self.oldest <= version && version <= self.version
    }
}

impl<'a> Capsule<'a> {
    /// A capsule without schemas, ports, services and state: what it consists of, and what it needs.
    #[must_use]
    pub const fn bare(
        version: Tag<'a>,
        abi: u16,
        chunk_log2: u8,
        root: Digest,
        needs: Needs,
    ) -> Self {
        Self {
            format: format::CAPSULE,
            version,
            abi,
            chunk_log2,
            root,
            needs,
            schemas: List::EMPTY,
            inputs: List::EMPTY,
            outputs: List::EMPTY,
            sensors: List::EMPTY,
            actuators: List::EMPTY,
            sources: List::EMPTY,
            peers: List::EMPTY,
            services: List::EMPTY,
            config: List::EMPTY,
            state: None,
        }
    }

    /// Checks what a decoder would: that every number refers to a schema, that no two names of a kind
    /// are equal, and the bounds of the configuration. The work is bounded by the squares of small
    /// bounds.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), DecodeError> {
        check_capsule(self)
    }

    /// The schema with this number.
    #[must_use]
    pub fn schema(&self, number: u8) -> Option<Schema<'a>> {
        self.schemas.get(usize::from(number))
    }

    /// The input with this name, and its number.
    #[must_use]
    pub fn input(&self, name: Name<'_>) -> Option<(u8, Port<'a>)> {
        find(&self.inputs, name)
    }

    /// The output with this name, and its number.
    #[must_use]
    pub fn output(&self, name: Name<'_>) -> Option<(u8, Port<'a>)> {
        find(&self.outputs, name)
    }
}

fn find<'a>(
    ports: &List<'a, Port<'a>, { limits::PORTS }>,
    name: Name<'_>,
) -> Option<(u8, Port<'a>)> {
    // A list is far shorter than 256.
    (0..=u8::MAX).zip(ports.iter()).find(|(_, port)| port.name == name)
}

fn check_state(state: &StateLayout) -> Result<(), DecodeError> {
    if state.oldest <= state.version { Ok(()) } else { Err(DecodeError::Value) }
}

fn check_capsule(capsule: &Capsule<'_>) -> Result<(), DecodeError> {
    if capsule.format != format::CAPSULE {
        return Err(DecodeError::Version);
    }
    check_fields(&capsule.config)?;
    let is_schema = |number: u8| usize::from(number) < capsule.schemas.len();
    let port = |port: Port<'_>| is_schema(port.schema);
    let service = |service: Service<'_>| {
        service.request.is_none_or(is_schema) && service.response.is_none_or(is_schema)
    };
    let refers = capsule.inputs.iter().chain(capsule.outputs).all(port)
        && capsule.sensors.iter().all(port)
        && capsule.services.iter().all(service)
        && capsule.peers.iter().all(|peer| peer.services.iter().all(service));
    let is_distinct = are_distinct(&mut capsule.inputs.iter().map(|port| port.name))
        && are_distinct(&mut capsule.outputs.iter().map(|port| port.name))
        && are_distinct(&mut capsule.sensors.iter().map(|port| port.name))
        && are_distinct(&mut capsule.actuators.iter().map(|actuator| actuator.name))
        && are_distinct(&mut capsule.sources.iter())
        && are_distinct(&mut capsule.peers.iter().map(|peer| peer.name))
        && are_distinct(&mut capsule.services.iter().map(|service| service.name));
    if refers && is_distinct { Ok(()) } else { Err(DecodeError::Value) }
}
