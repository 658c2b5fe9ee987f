//! A description out of a manifest, for those who have a capsule and not its source.

use capmesh_description::{
    Actuator, Config, Description, Field, Named, Needs, Peer, Port, Schema, Service, Source, State,
};
use capmesh_wire::Manifest;
use capmesh_wire::manifest::{self, Capsule};
use capmesh_wire::schema;
use std::path::{Path, PathBuf};

/// What a manifest says. Of timers it knows only how many there are, of defaults that there are some,
/// and of rates nothing: one message a second.
#[must_use]
pub fn description(manifest: &Manifest<'_>, path: &Path) -> Description {
    let capsule = &manifest.capsule;
    let port = |port: manifest::Port<'_>| Port {
        name: port.name.as_str().to_owned(),
        schema: usize::from(port.schema),
        rate: 1.0,
        doc: None,
    };
    let needs = &capsule.needs;
    Description {
        path: path.to_owned(),
        name: manifest.name.as_str().to_owned(),
        version: capsule.version.as_str().to_owned(),
        sequence: manifest.sequence,
        chunk_log2: capsule.chunk_log2,
        uri: manifest.uri.map(|uri| uri.as_str().to_owned()),
        doc: None,
        source: Source::Prebuilt(path.to_owned()),
        schemas: schemas(capsule),
        inputs: capsule.inputs.iter().map(port).collect(),
        outputs: capsule.outputs.iter().map(port).collect(),
        sensors: capsule.sensors.iter().map(port).collect(),
        actuators: capsule
            .actuators
            .iter()
            .map(|a| Actuator { name: a.name.as_str().to_owned(), unit: a.unit, doc: None })
            .collect(),
        sources: capsule.sources.iter().map(|name| named(name.as_str())).collect(),
        timers: (0..needs.timers).map(|number| named(&number.to_string())).collect(),
        services: capsule.services.iter().map(service).collect(),
        peers: capsule
            .peers
            .iter()
            .map(|peer| Peer {
                name: peer.name.as_str().to_owned(),
                services: peer.services.iter().map(service).collect(),
                doc: None,
            })
            .collect(),
        config: capsule
            .config
            .iter()
            .map(|key| Config { field: field(&key), default: None })
            .collect(),
        state: capsule.state.map(|state| State { version: state.version, oldest: state.oldest }),
        needs: Needs {
            stack: None,
            memory: Some(needs.memory),
            fuel_per_second: Some(needs.fuel_per_second),
            fuel_per_handler: Some(needs.fuel_per_handler),
            outbox_bytes: Some(needs.outbox_bytes),
            outbox_entries: Some(needs.outbox_entries),
        },
    }
}

fn schemas(capsule: &Capsule<'_>) -> Vec<Schema> {
    let schema = |schema: schema::Schema<'_>| Schema {
        alias: schema.name().as_str().to_owned(),
        path: PathBuf::new(),
        name: schema.name().as_str().to_owned(),
        version: schema.version(),
        doc: None,
        fields: schema.fields().iter().map(|f| field(&f)).collect(),
    };
    capsule.schemas.iter().map(schema).collect()
}

fn field(field: &schema::Field<'_>) -> Field {
    Field {
        name: field.name.as_str().to_owned(),
        ty: field.ty,
        unit: field.unit,
        optional: field.optional,
        doc: None,
    }
}

fn named(name: &str) -> Named {
    Named { name: name.to_owned(), doc: None }
}

fn service(service: manifest::Service<'_>) -> Service {
    Service {
        name: service.name.as_str().to_owned(),
        request: service.request.map(usize::from),
        response: service.response.map(usize::from),
        doc: None,
    }
}
