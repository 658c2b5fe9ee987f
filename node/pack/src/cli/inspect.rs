//! `inspect`.

use super::{Failure, grouped, json, read};
use crate::codec::hex;
use crate::forecast;
use crate::module::{self, Hints};
use crate::reading;
use crate::seal::{self, Sealed};
use capmesh_wire::bundle::MAGIC;
use capmesh_wire::manifest::{Capsule, Service};
use capmesh_wire::schema::{FieldType, Fields, Unit};
use capmesh_wire::{Credential, Manifest, UnverifiedManifest};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Show what a capsule says about itself.
///
/// Reads a capsule (.capsule) and checks every digest in it, or a module (.wasm, .wat) and says
/// whether a node would take it. A signature is verified with --publisher.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The capsule or module.
    file: PathBuf,
    /// The publisher's credential (.ccs), to verify the signature with.
    #[arg(long)]
    publisher: Option<PathBuf>,
    /// Run the capsule to measure its RAM again; fail if the manifest is off by more than 5 %.
    #[arg(long)]
    measure: bool,
    /// Also print the signed manifest in hexadecimal.
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let bytes = read(&self.file)?;
        if !bytes.starts_with(&MAGIC) {
            return self.module(&bytes, json);
        }
        let sealed = seal::open(&bytes).map_err(|error| Failure::given(&self.file, error))?;
        let manifest = sealed.manifest().map_err(|error| Failure::given(&self.file, error))?;
        if json {
            let verified = self.verify(&sealed)?.is_some();
            if self.measure {
                self.measure(&sealed, &manifest)?;
            }
            println!("{}", json::inspected(&sealed, &manifest, verified));
            return Ok(());
        }
        show(&sealed, &manifest, bytes.len());
        let publisher = sealed.publisher().map_err(|error| Failure::given(&self.file, error))?;
        match self.verify(&sealed)? {
            Some(name) => println!("signed   by {publisher}, {name}; verified"),
            None => println!("signed   by {publisher}; not verified (--publisher FILE.ccs)"),
        }
        if self.measure {
            let measured = self.measure(&sealed, &manifest)?;
            println!("measured {} bytes of RAM, as stated", grouped(measured));
        }
        if self.raw {
            println!("manifest {}", hex(&sealed.envelope));
        }
        Ok(())
    }

    /// Verifies the signature, if it is given whose it is to be; what that publisher is called.
    fn verify(&self, sealed: &Sealed) -> Result<Option<String>, Failure> {
        let Some(path) = &self.publisher else { return Ok(None) };
        let publisher = sealed.publisher().map_err(|error| Failure::given(&self.file, error))?;
        let bytes = read(path)?;
        let credential = Credential::parse(&bytes).map_err(|error| Failure::given(path, error))?;
        let unverified = UnverifiedManifest::parse(&sealed.envelope)
            .map_err(|error| Failure::given(&self.file, error))?;
        if unverified.verify(&credential.public_key()).is_err() {
            return Err(Failure::given(
                &self.file,
                format!(
                    "the signature is {publisher}'s, or forged, and not that of {}",
                    credential.id()
                ),
            ));
        }
        Ok(Some(credential.subject().to_string()))
    }

    /// Measures the RAM again, which is to be what the manifest states.
    fn measure(&self, sealed: &Sealed, manifest: &Manifest<'_>) -> Result<u32, Failure> {
        let description = reading::description(manifest, &self.file);
        let packed = module::pack(sealed.module(), Hints::default())
            .map_err(|fault| Failure::given(&self.file, fault))?;
        let forecast = forecast::measure(&packed, &description)
            .map_err(|failure| Failure::given(&self.file, failure))?;
        let (stated, measured) = (manifest.capsule.needs.ram, forecast.needs.ram);
        if u64::from(stated.abs_diff(measured)) * 100 > u64::from(measured) * TOLERANCE {
            return Err(Failure::given(
                &self.file,
                format!("the manifest states {stated} bytes of RAM, and {measured} were measured"),
            ));
        }
        Ok(measured)
    }

    fn module(&self, bytes: &[u8], json: bool) -> Result<(), Failure> {
        let packed = module::pack(bytes, Hints::default())
            .map_err(|fault| Failure::given(&self.file, fault))?;
        if json {
            let module = json!({
                "bytes": bytes.len(), "packed_bytes": packed.wasm.len(),
                "handlers": packed.handlers, "memory": packed.memory,
                "max_memory": packed.max_memory,
                "notes": packed.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            println!("{}", json!({ "module": module }));
            return Ok(());
        }
        println!("{}: a module that a node takes", self.file.display());
        println!("module   {} bytes, {} packed", bytes.len(), packed.wasm.len());
        println!("handlers {}", packed.handlers.join(", "));
        println!("memory   {} to {} bytes", grouped(packed.memory), grouped(packed.max_memory));
        for note in &packed.notes {
            println!("note: {note}");
        }
        Ok(())
    }
}

/// How far the RAM in a manifest may be off, in percent.
const TOLERANCE: u64 = 5;

fn show(sealed: &Sealed, manifest: &Manifest<'_>, file: usize) {
    let capsule = &manifest.capsule;
    println!("{} {}, sequence {}", manifest.name, capsule.version, manifest.sequence);
    println!("capsule  {} ({} bytes in this file)", sealed.digest(), grouped(file as u64));
    println!(
        "module   {}, {} bytes in {} chunks of {}",
        manifest.module_digest,
        grouped(manifest.module_size),
        sealed.blob.chunks(),
        sealed.blob.chunk_size()
    );
    if let Some(uri) = manifest.uri {
        println!("         {}", uri.as_str());
    }
    println!("contract capmesh{}", capsule.abi);
    let needs = &capsule.needs;
    println!(
        "needs    {} bytes of RAM, {} of linear memory",
        grouped(needs.ram),
        grouped(needs.memory)
    );
    println!(
        "         {} fuel a second, {} a handler",
        grouped(needs.fuel_per_second),
        grouped(needs.fuel_per_handler)
    );
    println!(
        "         outbox of {} bytes, {} entries; {} timers; {} table elements",
        grouped(needs.outbox_bytes),
        needs.outbox_entries,
        needs.timers,
        needs.table_elements
    );
    ports(capsule);
    services(capsule);
    if !capsule.config.is_empty() {
        println!("config   {}", fields(&capsule.config));
    }
    match capsule.state {
        Some(state) => {
            println!("state    version {}, restores {} and later", state.version, state.oldest);
        }
        None => println!("state    none worth a snapshot"),
    }
    for (number, schema) in capsule.schemas.iter().enumerate() {
        println!(
            "schema {number} {} {}: {}",
            schema.name(),
            schema.version(),
            fields(&schema.fields())
        );
        println!("         {}", hex(schema.id().0.as_bytes()));
    }
}

fn ports(capsule: &Capsule<'_>) {
    let lists = [
        ("input", capsule.inputs.iter().collect::<Vec<_>>()),
        ("output", capsule.outputs.iter().collect()),
        ("sensor", capsule.sensors.iter().collect()),
    ];
    for (kind, ports) in lists {
        for (number, port) in ports.iter().enumerate() {
            let schema = capsule.schema(port.schema);
            let schema = schema.map_or("?", |schema| schema.name().as_str());
            println!("{kind:<8} {number} {}: {schema}", port.name);
        }
    }
    for (number, actuator) in capsule.actuators.iter().enumerate() {
        println!("actuator {number} {}{}", actuator.name, unit(actuator.unit));
    }
    for (number, source) in capsule.sources.iter().enumerate() {
        println!("source   {number} {source}");
    }
}

fn services(capsule: &Capsule<'_>) {
    let schema = |number: Option<u8>| {
        let schema = number.and_then(|number| capsule.schema(number));
        schema.map_or("nothing", |schema| schema.name().as_str())
    };
    let describe = |service: &Service<'_>| {
        format!("{}({}) -> {}", service.name, schema(service.request), schema(service.response))
    };
    for (number, service) in capsule.services.iter().enumerate() {
        println!("service  {number} {}", describe(&service));
    }
    for (number, peer) in capsule.peers.iter().enumerate() {
        let services: Vec<String> = peer.services.iter().map(|s| describe(&s)).collect();
        println!("peer     {number} {}: {}", peer.name, services.join(", "));
    }
}

fn fields(fields: &Fields<'_>) -> String {
    let field = |field: capmesh_wire::schema::Field<'_>| {
        let size = match field.ty {
            FieldType::Text(max) | FieldType::Bytes(max) => format!("({max})"),
            _ => String::new(),
        };
        let optional = if field.optional { "?" } else { "" };
        format!("{}{optional} {}{size}{}", field.name, field.ty.name(), unit(field.unit))
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// A unit as it stands behind what it measures.
fn unit(unit: Unit) -> String {
    match unit {
        Unit::None => String::new(),
        unit => format!(" [{unit}]"),
    }
}
