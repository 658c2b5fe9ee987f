//! From a description to what is signed about a capsule.

use crate::{Config, Description, Field, Peer, Port, Schema, Service};
use capmesh_wire::manifest::{Actuator, Capsule, Needs, StateLayout};
use capmesh_wire::schema::Fields;
use capmesh_wire::text::{InvalidName, Name, Tag};
use capmesh_wire::{DecodeError, Digest, List, format, manifest, schema};
use std::fmt;

/// A description that was changed after it was read and is no longer a legal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Illegal {
    /// A name breaks the grammar.
    Name(InvalidName),
    /// There are more of something than a manifest may have.
    TooMany,
    /// Something refers to nothing, or two names are equal.
    Contradiction(DecodeError),
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "a name is not one: {error}"),
            Self::TooMany => f.write_str("there are more than a manifest may have"),
            Self::Contradiction(error) => write!(f, "the description contradicts itself: {error}"),
        }
    }
}

impl std::error::Error for Illegal {}

impl From<InvalidName> for Illegal {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}

impl From<DecodeError> for Illegal {
    fn from(error: DecodeError) -> Self {
        Self::Contradiction(error)
    }
}

fn list<T, const MAX: usize>(items: &[T]) -> Result<List<'_, T, MAX>, Illegal> {
    List::new(items).map_err(|_| Illegal::TooMany)
}

fn number(index: usize) -> Result<u8, Illegal> {
    u8::try_from(index).map_err(|_| Illegal::TooMany)
}

impl Field {
    fn wire(&self) -> Result<schema::Field<'_>, Illegal> {
        let name = Name::new(&self.name)?;
        Ok(schema::Field { name, ty: self.ty, unit: self.unit, optional: self.optional })
    }
}

impl Schema {
    /// Calls `with` with the schema as it goes over the wire.
    ///
    /// # Errors
    /// If the schema is not a legal one; one that was read from a file is.
    pub fn with_wire<T>(&self, with: impl FnOnce(&schema::Schema<'_>) -> T) -> Result<T, Illegal> {
        let fields: Vec<_> = self.fields.iter().map(Field::wire).collect::<Result<_, _>>()?;
        Ok(with(&schema::Schema::new(Name::new(&self.name)?, self.version, list(&fields)?)?))
    }
}

impl Port {
    fn wire(&self) -> Result<manifest::Port<'_>, Illegal> {
        Ok(manifest::Port { name: Name::new(&self.name)?, schema: number(self.schema)? })
    }
}

impl Service {
    fn wire(&self) -> Result<manifest::Service<'_>, Illegal> {
        Ok(manifest::Service {
            name: Name::new(&self.name)?,
            request: self.request.map(number).transpose()?,
            response: self.response.map(number).transpose()?,
        })
    }
}

/// The wire's form of each item.
fn all<'a, T, W>(
    items: &'a [T],
    wire: impl Fn(&'a T) -> Result<W, Illegal>,
) -> Result<Vec<W>, Illegal> {
    items.iter().map(wire).collect()
}

impl Description {
    /// Calls `with` with the capsule as its manifest states it: everything that is described here,
    /// and what the packer knows about the module.
    ///
    /// # Errors
    /// If the description is not a legal one; one that was read from a file is.
    pub fn with_capsule<T>(
        &self,
        abi: u16,
        root: Digest,
        needs: Needs,
        with: impl FnOnce(&Capsule<'_>) -> T,
    ) -> Result<T, Illegal> {
        let fields = all(&self.schemas, |schema| all(&schema.fields, Field::wire))?;
        let schemas: Vec<_> = self
            .schemas
            .iter()
            .zip(&fields)
            .map(|(schema, fields)| -> Result<_, Illegal> {
                Ok(schema::Schema::new(Name::new(&schema.name)?, schema.version, list(fields)?)?)
            })
            .collect::<Result<_, _>>()?;
        let inputs = all(&self.inputs, Port::wire)?;
        let outputs = all(&self.outputs, Port::wire)?;
        let sensors = all(&self.sensors, Port::wire)?;
        let actuators = all(&self.actuators, |actuator| {
            Ok(Actuator { name: Name::new(&actuator.name)?, unit: actuator.unit })
        })?;
        let sources = all(&self.sources, |source| Ok(Name::new(&source.name)?))?;
        let asked = all(&self.peers, |peer: &Peer| all(&peer.services, Service::wire))?;
        let peers: Vec<_> = self
            .peers
            .iter()
            .zip(&asked)
            .map(|(peer, services)| -> Result<_, Illegal> {
                Ok(manifest::Peer { name: Name::new(&peer.name)?, services: list(services)? })
            })
            .collect::<Result<_, _>>()?;
        let services = all(&self.services, Service::wire)?;
        let config = all(&self.config, |config: &Config| config.field.wire())?;
        let config: Fields<'_> = list(&config)?;
        let state =
            self.state.map(|state| StateLayout { version: state.version, oldest: state.oldest });
        let capsule = Capsule {
            format: format::CAPSULE,
            version: Tag::new(&self.version)?,
            abi,
            chunk_log2: self.chunk_log2,
            root,
            needs,
            schemas: list(&schemas)?,
            inputs: list(&inputs)?,
            outputs: list(&outputs)?,
            sensors: list(&sensors)?,
            actuators: list(&actuators)?,
            sources: list(&sources)?,
            peers: list(&peers)?,
            services: list(&services)?,
            config,
            state,
        };
        capsule.check()?;
        Ok(with(&capsule))
    }
}
