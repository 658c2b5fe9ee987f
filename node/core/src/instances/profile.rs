//! What a manifest and an assignment say to whoever runs an instance of them.

use crate::config::Config;
use crate::host::{Limits, Surroundings};
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_wire::manifest::{Capsule, Manifest};
use capmesh_wire::plan::Assignment;
use capmesh_wire::schema::Value;
use capmesh_wire::{ErrorCode, Schema, cbor, limits};

/// The version of the contract with capsules that this node offers.
pub(crate) const ABI: u16 = 1;

/// What an instance is run with: as much of its manifest as each message needs, in RAM.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) limits: Limits,
    /// The schema of each input and of each output, encoded.
    pub(crate) inputs: Vec<Box<[u8]>>,
    pub(crate) outputs: Vec<Box<[u8]>>,
    /// Of each service, the schemas of request and response.
    pub(crate) services: Vec<Service>,
    /// Of each peer, what is asked of it, by its number.
    pub(crate) peers: Vec<Vec<Asked>>,
    /// Which of the node's sensors each sensor is.
    pub(crate) sensors: Vec<u8>,
    /// Which of the node's actuators each actuator is.
    pub(crate) actuators: Vec<u8>,
    /// Which of the node's digital inputs each source is.
    pub(crate) sources: Vec<u8>,
    /// The layout of its state, 0 if it keeps none.
    pub(crate) layout: u16,
    /// What it is promised.
    pub(crate) ram: u32,
    pub(crate) fuel_per_second: u32,
}

/// The schemas of a service, encoded.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) request: Option<Box<[u8]>>,
    pub(crate) response: Option<Box<[u8]>>,
}

/// A service of another capsule.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) name: Box<str>,
    pub(crate) schemas: Service,
}

impl Profile {
    /// Works out what `row` of `manifest` needs, and whether the node has the sensors, actuators and
    /// ABI for it. The work is bounded by the lists of a manifest.
    pub(crate) fn new(
        config: &Config,
        manifest: &Manifest<'_>,
        module_size: u32,
    ) -> Result<Self, ErrorCode> {
        let capsule = &manifest.capsule;
        if capsule.abi != ABI {
            return Err(ErrorCode::AbiVersion);
        }
        let needs = capsule.needs;
        let payload = u32::try_from(limits::PAYLOAD).unwrap_or(u32::MAX);
        let limits = Limits {
            memory: needs.memory,
            table_elements: u32::from(needs.table_elements),
            module: module_size,
            outbox_bytes: u32::from(needs.outbox_bytes),
            outbox_entries: u16::from(needs.outbox_entries),
            event: payload,
            handler_fuel: u64::from(needs.fuel_per_handler),
            timers: u16::from(needs.timers).min(u16::try_from(limits::TIMERS).unwrap_or(u16::MAX)),
        };
        let place =
            |found: Option<usize>, error| found.and_then(|at| u8::try_from(at).ok()).ok_or(error);
        let sensors = capsule.sensors.iter().map(|sensor| {
            let tag = capsule.schema(sensor.schema).map(|schema| schema.id().tag());
            let is = |own: &crate::config::Sensor| {
                *own.name == *sensor.name.as_str() && Some(own.schema) == tag
            };
            place(config.sensors.iter().position(is), ErrorCode::NoSensor)
        });
        let sensors = sensors.collect::<Result<_, _>>()?;
        let actuators = capsule.actuators.iter().map(|actuator| {
            let is = |own: &crate::config::Actuator| {
                *own.name == *actuator.name.as_str() && own.unit == actuator.unit
            };
            place(config.actuators.iter().position(is), ErrorCode::NoActuator)
        });
        let actuators = actuators.collect::<Result<_, _>>()?;
        let sources = capsule.sources.iter().map(|source| {
            let place_of = config.sources.iter().position(|own| **own == *source.as_str());
            place(place_of, ErrorCode::NoSensor)
        });
        let sources = sources.collect::<Result<_, _>>()?;
        Ok(Self {
            limits,
            inputs: capsule.inputs.iter().map(|p| schema_of(capsule, p.schema)).collect(),
            outputs: capsule.outputs.iter().map(|p| schema_of(capsule, p.schema)).collect(),
            services: capsule.services.iter().map(|s| Service::of(capsule, &s)).collect(),
            peers: capsule
                .peers
                .iter()
                .map(|peer| {
                    peer.services
                        .iter()
                        .map(|s| Asked {
                            name: s.name.as_str().into(),
                            schemas: Service::of(capsule, &s),
                        })
                        .collect()
                })
                .collect(),
            sensors,
            actuators,
            sources,
            layout: capsule.state.map_or(0, |state| state.version),
            ram: needs.ram,
            fuel_per_second: needs.fuel_per_second,
        })
    }

    /// What the instance may use, by number.
    ///
    /// # Errors
    /// If the row's configuration does not fit the manifest.
    pub(crate) fn surroundings(
        &self,
        capsule: &Capsule<'_>,
        row: Option<&Assignment<'_>>,
    ) -> Result<Surroundings, ErrorCode> {
        Ok(Surroundings { config: config_values(capsule, row)?, ..self.bare_surroundings() })
    }

    /// The same without configuration: for an instance that is not to run.
    pub(crate) fn bare_surroundings(&self) -> Surroundings {
        let outputs = self.outputs.iter().map(|schema| {
            let len = schema_in(schema).map_or(0, |schema| schema.record_len());
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            (len, len)
        });
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Surroundings {
            outputs: outputs.collect(),
            peers: count(self.peers.len()),
            actuators: count(self.actuators.len()),
            config: Vec::new(),
            sensors: count(self.sensors.len()),
        }
    }
}

impl Profile {
    /// What a peer is asked for, by the numbers that the capsule has for both.
    pub(crate) fn asked(&self, peer: u32, resource: u32) -> Option<&Asked> {
        let place = |number| usize::try_from(number).ok();
        self.peers.get(place(peer)?)?.get(place(resource)?)
    }
}

impl Service {
    fn of(capsule: &Capsule<'_>, service: &capmesh_wire::manifest::Service<'_>) -> Self {
        let schema = |number: Option<u8>| number.map(|number| schema_of(capsule, number));
        Self { request: schema(service.request), response: schema(service.response) }
    }
}

/// The schema with this number, encoded. A manifest that was parsed has it.
fn schema_of(capsule: &Capsule<'_>, number: u8) -> Box<[u8]> {
    let mut buf = [0; SCHEMA];
    let len = capsule.schema(number).and_then(|schema| cbor::encode(&schema, &mut buf).ok());
    buf.get(..len.unwrap_or_default()).unwrap_or_default().into()
}

/// Bytes of an encoded schema: a head, and its fields.
const SCHEMA: usize = limits::FIELD * (1 + limits::FIELDS_OF_SCHEMA) + 8;

/// A schema that [`Profile`] keeps.
pub(crate) fn schema_in(bytes: &[u8]) -> Option<Schema<'_>> {
    cbor::decode(bytes).ok()
}

/// The configuration as the contract has it: numbers as `f64`, texts and bytes as they are.
fn config_values(
    capsule: &Capsule<'_>,
    row: Option<&Assignment<'_>>,
) -> Result<Vec<Option<Box<[u8]>>>, ErrorCode> {
    let Some(payload) = row.and_then(|row| row.config) else {
        let is_complete = capsule.config.iter().all(|field| field.optional);
        let missing = capsule.config.iter().map(|_| None).collect();
        return if is_complete { Ok(missing) } else { Err(ErrorCode::SchemaMismatch) };
    };
    let values = payload.values(capsule.config).map_err(|_| ErrorCode::SchemaMismatch)?;
    values
        .map(|value| {
            Ok(match value.map_err(|_| ErrorCode::SchemaMismatch)? {
                Value::Absent => None,
                Value::Bool(value) => Some(number(f64::from(u8::from(value)))),
                Value::Uint(value) => Some(number(to_f64(value))),
                Value::Int(value) => Some(number(int_to_f64(value))),
                Value::Float(value) => Some(number(value)),
                Value::Text(text) => Some(text.as_bytes().into()),
                Value::Bytes(bytes) => Some(bytes.into()),
            })
        })
        .collect()
}

fn number(value: f64) -> Box<[u8]> {
    Box::new(value.to_le_bytes())
}

#[expect(clippy::cast_precision_loss, reason = "the contract gives numbers as f64")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "the contract gives numbers as f64")]
fn int_to_f64(value: i64) -> f64 {
    value as f64
}
