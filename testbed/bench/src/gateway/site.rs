//! A site of the size that is asked for, made anew for each run: keys, names, streams.

use capmesh_session::edhoc::{Credential, Identity};
use capmesh_session::{Entry, Roster};
use capmesh_wire::cbor::encode;
use capmesh_wire::message::Stream;
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{
    Digest, InstanceId, List, Name, NodeId, Overflow, PublicKey, Role, Schema, Unit, limits,
};
use std::collections::BTreeMap;

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The gateway's number; nodes count from 1.
pub(crate) const GATEWAY: u32 = 0;

/// The instance that nodes send to.
pub(crate) const TAP: InstanceId = InstanceId(1);

/// The outputs of each node's instance.
pub(crate) const EVERY: u8 = 0;
pub(crate) const LATEST: u8 = 1;

/// Everybody of the site. A roster that travels has [`limits::ROSTER_ENTRIES`] entries at most; this one
/// was never sent to anybody.
pub(crate) struct Members(BTreeMap<NodeId, Entry>);

impl Members {
    /// The gateway, and so many nodes.
    pub(crate) fn new(nodes: u32) -> Result<Self, Failed> {
        let numbers = GATEWAY..=nodes;
        let entries = numbers.map(|number| entry(number).map(|entry| (entry.id, entry)));
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// The gateway alone: whom a node has to know.
    pub(crate) fn gateway() -> Result<Self, Failed> {
        Self::new(GATEWAY)
    }
}

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0.get(&NodeId::from_bytes(kid.try_into().ok()?)).cloned()
    }
}

fn entry(number: u32) -> Result<Entry, Failed> {
    let identity = identity(number)?;
    let credential = identity.credential().clone();
    let id = NodeId::of_key(credential.public_key());
    let role = if number == GATEWAY { Role::Gateway } else { Role::Node };
    Ok(Entry { id, credential, role, expires: u64::MAX })
}

/// The key of a party: the same in both processes, and in every run. It is for nothing but this.
pub(crate) fn identity(number: u32) -> Result<Identity, Failed> {
    let key = *Digest::of(format!("capmesh-bench {number}").as_bytes()).as_bytes();
    let (x, y) = Identity::public_point_of(&key).map_err(|error| error.to_string())?;
    let mut buf = [0; limits::CREDENTIAL];
    let name = name(number);
    let name = Name::new(&name).map_err(|error| error.to_string())?;
    let len = capmesh_wire::Credential::encode(name, &PublicKey { x, y }, &mut buf)?;
    let credential = Credential::parse(buf.get(..len).unwrap_or_default())
        .map_err(|error| format!("{error:?}"))?;
    Identity::new(&key, credential).map_err(|error| error.to_string().into())
}

pub(crate) fn id(number: u32) -> Result<NodeId, Failed> {
    Ok(NodeId::of_key(identity(number)?.credential().public_key()))
}

pub(crate) fn name(number: u32) -> String {
    format!("n{number}")
}

/// What a node's instance publishes.
pub(crate) const fn stream(number: u32, output: u8) -> Stream {
    Stream { instance: InstanceId(1_000 + number), output }
}

/// What is measured: when it was sent, in microseconds on the load generator's clock, and a value.
pub(crate) fn with_schema<T>(then: impl FnOnce(&Schema<'_>) -> T) -> Result<T, Failed> {
    let name = |name| Name::new(name).map_err(|error| error.to_string());
    let field = |name, ty, unit| Field { name, ty, unit, optional: false };
    let fields = [
        field(name("sent")?, FieldType::U64, Unit::None),
        field(name("value")?, FieldType::F32, Unit::Celsius),
    ];
    let fields = List::new(&fields).map_err(|error| error.to_string())?;
    let schema = Schema::new(name("reading")?, 1, fields).map_err(|error| format!("{error:?}"))?;
    Ok(then(&schema))
}

pub(crate) fn encoded_schema() -> Result<Vec<u8>, Failed> {
    with_schema(|schema| {
        let mut buf = [0; 256];
        let len = encode(schema, &mut buf)?;
        Ok::<_, Overflow>(buf.get(..len).unwrap_or_default().to_vec())
    })?
    .map_err(|Overflow| "the schema is too long".into())
}
