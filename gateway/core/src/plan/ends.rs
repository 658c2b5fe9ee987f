//! Names of instances, and the gateway's own instances: the ends of bridges.

use crate::rows::Row;
use capmesh_wire::InstanceId;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How people call an instance: `pipeline/capsule/replica`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// The pipeline.
    pub pipeline: String,
    /// What the pipeline calls the capsule.
    pub capsule: String,
    /// Which of its replicas, from 0.
    pub replica: u8,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pipeline, self.capsule, self.replica)
    }
}

/// Text that is not `pipeline/capsule/replica`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidInstance;

impl fmt::Display for InvalidInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instance is written `pipeline/capsule/replica`, such as `city-air/clean/0`")
    }
}

impl std::error::Error for InvalidInstance {}

impl FromStr for InstanceName {
    type Err = InvalidInstance;

    /// The replica may be left out if it is 0.
    fn from_str(text: &str) -> Result<Self, InvalidInstance> {
        let mut parts = text.split('/');
        let (Some(pipeline), Some(capsule), replica, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidInstance);
        };
        let replica = replica.map_or(Ok(0), str::parse).map_err(|_| InvalidInstance)?;
        let is_name = |text| capmesh_wire::Name::new(text).is_ok();
        if !is_name(pipeline) || !is_name(capsule) {
            return Err(InvalidInstance);
        }
        Ok(Self { pipeline: pipeline.to_owned(), capsule: capsule.to_owned(), replica })
    }
}

/// An end of a bridge, which is an instance of the gateway's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum BridgeName {
    /// Where an output that is published ends.
    #[n(0)]
    Publish {
        /// The pipeline.
        #[n(0)]
        pipeline: String,
        /// What the pipeline calls the capsule.
        #[n(1)]
        capsule: String,
        /// The output's name.
        #[n(2)]
        output: String,
    },
    /// Where the stream of an MQTT topic begins.
    #[n(1)]
    Subscribe {
        /// The pipeline.
        #[n(0)]
        pipeline: String,
        /// The MQTT topic.
        #[n(1)]
        topic: String,
    },
}

impl BridgeName {
    /// The pipeline that it belongs to.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        match self {
            Self::Publish { pipeline, .. } | Self::Subscribe { pipeline, .. } => pipeline,
        }
    }
}

impl InstanceName {
    /// The name of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self { pipeline: row.pipeline.clone(), capsule: row.name.clone(), replica: row.replica }
    }
}

/// The gateway's own instances.
///
/// Their numbers are kept for as long as their pipelines have those bridges, so that cursors and numbers
/// of streams go on where they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(pub BTreeMap<BridgeName, InstanceId>);

impl Ends {
    /// Each of them as a record of the durable state, by its number.
    pub fn records(&self) -> impl Iterator<Item = (InstanceId, Vec<u8>)> {
        // Writing to a vector does not fail.
        self.0.iter().filter_map(|(name, end)| Some((*end, minicbor::to_vec(name).ok()?)))
    }

    /// Takes a record of [`Ends::records`]; false if it is none.
    pub fn restore(&mut self, end: InstanceId, record: &[u8]) -> bool {
        let name = minicbor::decode(record).ok();
        let is_one = name.is_some();
        self.0.extend(name.map(|name| (name, end)));
        is_one
    }
}
