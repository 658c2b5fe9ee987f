//! How people name an instance.

use capmesh_wire::text::InvalidName;
use capmesh_wire::{InstanceId, Name};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instance, as people name it: `pipeline/name/replica`, `pipeline/name` for the only replica, or
/// its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceRef {
    /// By its number.
    Number(InstanceId),
    /// By its place in a pipeline.
    Place {
        /// The pipeline.
        pipeline: String,
        /// What the pipeline calls it.
        name: String,
        /// Which of the replicas, from 0; absent for the only one.
        replica: Option<u8>,
    },
}

impl InstanceRef {
    /// The replica of a pipeline's capsule.
    #[must_use]
    pub fn place(pipeline: &str, name: &str, replica: u8) -> Self {
        let (pipeline, name) = (pipeline.to_owned(), name.to_owned());
        Self::Place { pipeline, name, replica: Some(replica) }
    }
}

/// Text that names no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidInstance {
    /// It is neither a number nor two or three parts.
    Form,
    /// The pipeline or the capsule is not a name.
    Name(InvalidName),
    /// The replica is not a number up to 255.
    Replica,
}

impl fmt::Display for InvalidInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("an instance is `pipeline/name/replica` or a number"),
            Self::Name(error) => error.fmt(f),
            Self::Replica => f.write_str("a replica is a number from 0 to 255"),
        }
    }
}

impl core::error::Error for InvalidInstance {}

impl FromStr for InstanceRef {
    type Err = InvalidInstance;

    fn from_str(text: &str) -> Result<Self, InvalidInstance> {
        let mut parts = text.split('/');
        let (first, second, third) = (parts.next(), parts.next(), parts.next());
        let (Some(first), None) = (first, parts.next()) else { return Err(InvalidInstance::Form) };
        let Some(second) = second else {
            let number = first.parse().map_err(|_| InvalidInstance::Form)?;
            return Ok(Self::Number(InstanceId(number)));
        };
        let name = |text| Name::new(text).map_err(InvalidInstance::Name);
        let (pipeline, name) =
            (name(first)?.as_str().to_owned(), name(second)?.as_str().to_owned());
        let replica = third.map(|text| text.parse().map_err(|_| InvalidInstance::Replica));
        Ok(Self::Place { pipeline, name, replica: replica.transpose()? })
    }
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(InstanceId(number)) => number.fmt(f),
            Self::Place { pipeline, name, replica: Some(replica) } => {
                write!(f, "{pipeline}/{name}/{replica}")
            }
            Self::Place { pipeline, name, replica: None } => write!(f, "{pipeline}/{name}"),
        }
    }
}

impl Serialize for InstanceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(InstanceId(number)) => serializer.serialize_u32(*number),
            Self::Place { .. } => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for InstanceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = InstanceRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`pipeline/name/replica` or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<InstanceRef, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<InstanceRef, E> {
        let number = u32::try_from(number).map_err(E::custom)?;
        Ok(InstanceRef::Number(InstanceId(number)))
    }
}
