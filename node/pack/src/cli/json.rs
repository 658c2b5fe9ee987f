//! What capsules are and need, for programs.

use super::build::Written;
use crate::assemble::Assembled;
use crate::codec::hex;
use crate::seal::Sealed;
use capmesh_wire::Manifest;
use capmesh_wire::manifest::{Capsule, Needs, Port, Service};
use capmesh_wire::schema::{Field, Fields, Unit};
use serde_json::{Value, json};

/// What a capsule says about itself.
pub(super) fn inspected(sealed: &Sealed, manifest: &Manifest<'_>, verified: bool) -> Value {
    let capsule = &manifest.capsule;
    let schemas: Vec<_> = capsule
        .schemas
        .iter()
        .map(|schema| {
            json!({
                "name": schema.name().as_str(), "version": schema.version(),
                "id": hex(schema.id().0.as_bytes()), "fields": fields(&schema.fields()),
            })
        })
        .collect();
    let units = |name: &str, of: Unit| json!({ "name": name, "unit": unit(of) });
    let actuators: Vec<_> = capsule
        .actuators
        .iter()
        .map(|actuator| units(actuator.name.as_str(), actuator.unit))
        .collect();
    let peers: Vec<_> = capsule
        .peers
        .iter()
        .map(|peer| {
            let services: Vec<_> = peer.services.iter().map(|s| service(capsule, &s)).collect();
            json!({ "name": peer.name.as_str(), "services": services })
        })
        .collect();
    json!({
        "name": manifest.name.to_string(),
        "version": capsule.version.to_string(),
        "sequence": manifest.sequence,
        "digest": sealed.digest().to_string(),
        "module": {
            "digest": manifest.module_digest.to_string(), "bytes": manifest.module_size,
            "chunks": sealed.blob.chunks(), "chunk_bytes": sealed.blob.chunk_size(),
        },
        "contract": capsule.abi,
        "needs": needs(&capsule.needs),
        "inputs": capsule.inputs.iter().map(|port| self::port(capsule, &port)).collect::<Vec<_>>(),
        "outputs": capsule.outputs.iter().map(|port| self::port(capsule, &port)).collect::<Vec<_>>(),
        "sensors": capsule.sensors.iter().map(|port| self::port(capsule, &port)).collect::<Vec<_>>(),
        "actuators": actuators,
        "sources": capsule.sources.iter().map(|source| source.to_string()).collect::<Vec<_>>(),
        "services": capsule.services.iter().map(|s| service(capsule, &s)).collect::<Vec<_>>(),
        "peers": peers,
        "config": fields(&capsule.config),
        "state": capsule.state.map(|state| json!({ "version": state.version, "oldest": state.oldest })),
        "schemas": schemas,
        "publisher": sealed.publisher().ok().map(|publisher| publisher.to_string()),
        "verified": verified,
    })
}

/// What was built, and where it was written, if it was.
pub(super) fn built(assembled: &Assembled, written: Option<&Written>) -> Value {
    let Assembled { description, built, packed, forecast } = assembled;
    json!({
        "name": description.name, "version": description.version.to_string(),
        "toolchain": built.toolchain,
        "module": {
            "bytes": packed.wasm.len(), "compiled_bytes": built.module.len(),
            "handlers": packed.handlers,
        },
        "needs": needs(&forecast.needs),
        "seen": {
            "handlers": forecast.seen.handlers, "messages": forecast.seen.published,
            "seconds": forecast.micros / 1_000_000, "most_fuel": forecast.seen.most_fuel,
            "unreached": forecast.unreached,
        },
        "notes": packed.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "file": written.map(|written| written.file.display().to_string()),
        "bytes": written.map(|written| written.bytes),
        "digest": written.map(|written| written.digest.to_string()),
    })
}

fn needs(needs: &Needs) -> Value {
    json!({
        "ram": needs.ram, "memory": needs.memory, "fuel_per_second": needs.fuel_per_second,
        "fuel_per_handler": needs.fuel_per_handler, "outbox_bytes": needs.outbox_bytes,
        "outbox_entries": needs.outbox_entries, "timers": needs.timers,
        "table_elements": needs.table_elements,
    })
}

fn port(capsule: &Capsule<'_>, port: &Port<'_>) -> Value {
    json!({ "name": port.name.as_str(), "schema": schema(capsule, Some(port.schema)) })
}

fn schema<'a>(capsule: &Capsule<'a>, number: Option<u8>) -> Option<&'a str> {
    Some(capsule.schema(number?)?.name().as_str())
}

fn service(capsule: &Capsule<'_>, service: &Service<'_>) -> Value {
    json!({
        "name": service.name.as_str(), "request": schema(capsule, service.request),
        "response": schema(capsule, service.response),
    })
}

fn fields(fields: &Fields<'_>) -> Vec<Value> {
    let field = |field: Field<'_>| {
        json!({
            "name": field.name.as_str(), "type": field.ty.name(), "unit": unit(field.unit),
            "optional": field.optional,
        })
    };
    fields.iter().map(field).collect()
}

fn unit(unit: Unit) -> Option<String> {
    (unit != Unit::None).then(|| unit.to_string())
}
