//! Catalogs for tests.

use super::Catalog;
use capmesh_wire::cose::SigningKey;
use capmesh_wire::manifest::{Actuator, Capsule, Needs, Peer, Port, Service};
use capmesh_wire::schema::{Field, FieldType, Schema, Unit};
use capmesh_wire::{BlobRef, Digest, List, Manifest, Name, Tag, text::CapsuleName};

/// A capsule with what is said of it here. Schemas are `temperature` (0), `load` (1) and another
/// `temperature` (2).
#[derive(Clone, Default)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) inputs: &'static [(&'static str, u8)],
    pub(crate) outputs: &'static [(&'static str, u8)],
    pub(crate) sensors: &'static [(&'static str, u8)],
    pub(crate) actuators: &'static [&'static str],
    pub(crate) config: &'static [(&'static str, FieldType, bool)],
    pub(crate) services: &'static [(&'static str, Option<u8>, Option<u8>)],
    pub(crate) peers: &'static [(&'static str, &'static str, Option<u8>, Option<u8>)],
    pub(crate) ram: u32,
    pub(crate) fuel: u32,
}

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// Calls `with` with the schemas that recipes number.
pub(crate) fn with_schemas<T>(with: impl FnOnce(&[Schema<'_>; 3]) -> T) -> T {
    let field = |ty, unit| [Field { name: name("value"), ty, unit, optional: false }];
    let celsius = field(FieldType::F32, Unit::Celsius);
    let ratio = field(FieldType::F32, Unit::Ratio);
    let fine = field(FieldType::F64, Unit::Celsius);
    let schema =
        |text, version, fields| Schema::new(name(text), version, List::new(fields).unwrap());
    with(&[
        schema("temperature", 1, &celsius).unwrap(),
        schema("load", 1, &ratio).unwrap(),
        schema("temperature", 2, &fine).unwrap(),
    ])
}

impl Recipe {
    /// Its signed manifest.
    pub(crate) fn envelope(&self) -> Vec<u8> {
        with_schemas(|schemas| self.sign(schemas))
    }

    fn sign(&self, schemas: &[Schema<'_>]) -> Vec<u8> {
        let ports = |ports: &'static [(&'static str, u8)]| -> Vec<Port<'static>> {
            ports.iter().map(|&(text, schema)| Port { name: name(text), schema }).collect()
        };
        let (inputs, outputs) = (ports(self.inputs), ports(self.outputs));
        let sensors = ports(self.sensors);
        let actuators: Vec<_> = self
            .actuators
            .iter()
            .map(|text| Actuator { name: name(text), unit: Unit::None })
            .collect();
        let config: Vec<_> = self
            .config
            .iter()
            .map(|&(text, ty, optional)| Field { name: name(text), ty, unit: Unit::None, optional })
            .collect();
        let service = |text, request, response| Service { name: name(text), request, response };
        let services: Vec<_> =
            self.services.iter().map(|&(text, a, b)| service(text, a, b)).collect();
        let asked: Vec<_> =
            self.peers.iter().map(|&(_, text, a, b)| [service(text, a, b)]).collect();
        let peers: Vec<_> = self
            .peers
            .iter()
            .zip(&asked)
            .map(|(&(text, ..), asked)| Peer {
                name: name(text),
                services: List::new(asked).unwrap(),
            })
            .collect();
        let module = BlobRef::of_one_chunk(self.name.as_bytes(), 10).unwrap();
        let capsule = Capsule {
            schemas: List::new(schemas).unwrap(),
            inputs: List::new(&inputs).unwrap(),
            outputs: List::new(&outputs).unwrap(),
            sensors: List::new(&sensors).unwrap(),
            actuators: List::new(&actuators).unwrap(),
            peers: List::new(&peers).unwrap(),
            services: List::new(&services).unwrap(),
            config: List::new(&config).unwrap(),
            ..Capsule::bare(
                Tag::new("1.0.0").unwrap(),
                1,
                10,
                module.root,
                Needs {
                    memory: 1_024,
                    ram: self.ram.max(1),
                    fuel_per_second: self.fuel,
                    fuel_per_handler: 100_000,
                    outbox_bytes: 256,
                    outbox_entries: 4,
                    timers: 1,
                    table_elements: 0,
                },
            )
        };
        let manifest = Manifest {
            sequence: 1,
            name: CapsuleName::new(self.name).unwrap(),
            module_digest: module.digest,
            module_size: module.size,
            uri: None,
            capsule,
        };
        let mut buf = vec![0; 4_096];
        let key = SigningKey::from_bytes(&[17; 32]).unwrap();
        let len = manifest.sign(&key, &mut buf).unwrap();
        buf.truncate(len);
        buf
    }

    /// Puts it into a catalog, as `name:1`.
    pub(crate) fn publish(&self, catalog: &mut Catalog) -> Digest {
        let digest = catalog.insert(&self.envelope()).unwrap();
        catalog.refer(&format!("{}:1", self.name), digest).unwrap();
        digest
    }
}

/// `t/sense` reads `probe` and gives temperatures; `t/filter` takes and gives them; `t/sum` takes two
/// and gives loads; `t/show` takes loads, has settings and asks `t/sum` for its `total`.
pub(crate) fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let recipe = |name| Recipe { name, ram: 1_000, fuel: 1_000, ..Recipe::default() };
    let all = [
        Recipe { sensors: &[("probe", 0)], outputs: &[("reading", 0)], ..recipe("t/sense") },
        Recipe { inputs: &[("reading", 0)], outputs: &[("valid", 0)], ..recipe("t/filter") },
        Recipe {
            inputs: &[("left", 0), ("right", 0)],
            outputs: &[("total", 1)],
            services: &[("total", None, Some(1))],
            ..recipe("t/sum")
        },
        Recipe {
            inputs: &[("load", 1), ("limit", 2)],
            outputs: &[("alert", 0)],
            config: &[
                ("limit", FieldType::F32, true),
                ("hold", FieldType::U8, true),
                ("label", FieldType::Text(8), true),
                ("loud", FieldType::Bool, true),
            ],
            peers: &[("source", "total", None, Some(1))],
            ..recipe("t/show")
        },
        Recipe { config: &[("id", FieldType::U16, false)], ..recipe("t/named") },
        Recipe { actuators: &["lamp"], ..recipe("t/lamp") },
    ];
    for recipe in all {
        recipe.publish(&mut catalog);
    }
    catalog
}
