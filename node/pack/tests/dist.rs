//! The example capsules as they are committed: each is what its folder says, and takes what its
//! manifest predicts, alone and all of them together in one node.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use capmesh_capsule::assemble;
use capmesh_capsule::forecast;
use capmesh_capsule::load;
use capmesh_capsule::meter::{self, Meter};
use capmesh_capsule::module::{Hints, Packed, pack};
use capmesh_capsule::rehearsal::Rehearsal;
use capmesh_capsule::seal::{self, Sealed};
use capmesh_description::{Description, Value};
use capmesh_runtime::{Limits, Runtime};
use capmesh_wire::manifest::Needs;
use capmesh_wire::schema::FieldType;
use capmesh_wire::{Credential, UnverifiedManifest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[global_allocator]
static METER: Meter = Meter;

/// How far a prediction may be off, in percent.
const TOLERANCE: u64 = 5;

struct Capsule {
    name: String,
    sealed: Sealed,
    description: Description,
    packed: Packed,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/capsules")
}

fn capsules() -> Vec<Capsule> {
    let mut capsules = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("capsule.toml").is_file() {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let file = folder().join("dist").join(format!("{name}.capsule"));
        let bytes = std::fs::read(&file)
            .unwrap_or_else(|_| panic!("{}: cargo xtask capsules --write", file.display()));
        let sealed = seal::open(&bytes).unwrap();
        let packed = pack(sealed.module(), Hints::default()).unwrap();
        let description = assemble::describe(&path).unwrap();
        capsules.push(Capsule { name, sealed, description, packed });
    }
    capsules.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(capsules.len() >= 10, "there are only {}", capsules.len());
    capsules
}

impl Capsule {
    fn needs(&self) -> Needs {
        self.sealed.manifest().unwrap().capsule.needs
    }

    /// As a node would have it: held to what the manifest says.
    fn limits(&self) -> Limits {
        let needs = self.needs();
        Limits {
            memory: needs.memory,
            table_elements: u32::from(needs.table_elements),
            module: self.sealed.blob.size,
            outbox_bytes: u32::from(needs.outbox_bytes),
            outbox_entries: u16::from(needs.outbox_entries),
            handler_fuel: u64::from(needs.fuel_per_handler),
            timers: u16::from(needs.timers),
            ..Limits::default()
        }
    }

    fn rehearsal(&self, runtime: &Runtime) -> Rehearsal {
        let (config, limits) = (config(&self.description), self.limits());
        Rehearsal::new(runtime, &self.packed, &self.description, &config, &limits).unwrap()
    }

    /// The RAM that was predicted: by its manifest, or, where the runtime translates otherwise than the
    /// one that measured the manifest, by measuring now.
    fn predicted(&self) -> u64 {
        if Runtime::IS_SMALL {
            u64::from(assemble::measure(&self.description, &self.packed).unwrap().needs.ram)
        } else {
            u64::from(self.needs().ram)
        }
    }

    /// Handles its load twice: longer than it was measured for.
    fn work(&self, rehearsal: &mut Rehearsal) {
        let (schedule, end) = load::generate(&self.description);
        forecast::play(rehearsal, &self.description, &schedule, end).unwrap();
        let again: Vec<_> =
            schedule.into_iter().map(|(at, happening)| (at + end, happening)).collect();
        forecast::play(rehearsal, &self.description, &again, 2 * end).unwrap();
    }
}

fn config(description: &Description) -> BTreeMap<String, Value> {
    let required = description.config.iter().filter(|key| key.default.is_none());
    let value = |ty| match ty {
        FieldType::Bool => Value::Bool(true),
        FieldType::Text(_) | FieldType::Bytes(_) => Value::Text("a".into()),
        _ => Value::Number(1.0),
    };
    required.map(|key| (key.field.name.clone(), value(key.field.ty))).collect()
}

fn assert_near(what: &str, predicted: u64, taken: u64) {
    let difference = predicted.abs_diff(taken) * 100;
    assert!(
        difference <= taken * TOLERANCE,
        "{what}: {predicted} bytes were predicted and {taken} taken; if the runtime has changed, \
         `cargo xtask capsules --write` measures anew"
    );
}

#[test]
fn each_takes_what_was_predicted() {
    assert!(meter::is_installed());
    for capsule in capsules() {
        let runtime = Runtime::new();
        // What the runtime keeps for all of its capsules is not this one's.
        capsule.work(&mut capsule.rehearsal(&runtime));
        let mut rehearsal = capsule.rehearsal(&runtime);
        capsule.work(&mut rehearsal);
        let (peak, ram) = (rehearsal.ram().peak as u64, rehearsal.ram());
        let predicted = capsule.predicted();
        println!(
            "{:<20} predicted {predicted:>6}, taken {peak:>6} (module {}, fresh {})",
            capsule.name, ram.module, ram.fresh
        );
        assert_near(&capsule.name, predicted, peak);
    }
}

/// All of them in one runtime, as a node has them: the sum of what the allocator counts for the
/// whole, against the sum of the predictions.
#[test]
fn together_they_take_the_sum() {
    let capsules = capsules();
    let runtime = Runtime::new();
    for capsule in &capsules {
        capsule.work(&mut capsule.rehearsal(&runtime));
    }
    let before = meter::live();
    let mut running = Vec::with_capacity(capsules.len());
    let own = meter::live() - before;
    for capsule in &capsules {
        let mut rehearsal = capsule.rehearsal(&runtime);
        capsule.work(&mut rehearsal);
        running.push(rehearsal);
    }
    let taken = u64::try_from(meter::live() - before - own).unwrap();
    drop(running);
    let predicted = capsules.iter().map(Capsule::predicted).sum();
    println!("{} capsules: predicted {predicted}, taken {taken}", capsules.len());
    assert_near("all together", predicted, taken);
}

#[test]
fn each_is_what_its_folder_says_and_is_signed() {
    let credential = std::fs::read(folder().join("dist/examples.ccs")).unwrap();
    let publisher = Credential::parse(&credential).unwrap().public_key();
    for capsule in capsules() {
        let name = &capsule.name;
        let unverified = UnverifiedManifest::parse(&capsule.sealed.envelope).unwrap();
        let manifest = unverified.verify(&publisher).unwrap();
        let module = std::fs::read(folder().join(format!("dist/{name}.wasm"))).unwrap();
        assert_eq!(capsule.sealed.module(), module, "{name}: module and capsule differ");
        assert_eq!(assemble::contradictions(&capsule.description, &capsule.packed), []);
        let described = &capsule.description;
        assert_eq!(manifest.name.as_str(), described.name, "{name}");
        assert_eq!(manifest.sequence, described.sequence, "{name}");
        let same = described.with_capsule(
            capmesh_capsule_abi::VERSION,
            capsule.sealed.blob.root,
            capsule.needs(),
            |capsule| *capsule == manifest.capsule,
        );
        assert_eq!(
            same,
            Ok(true),
            "{name}: capsule.toml has changed; cargo xtask capsules --write"
        );
        assert_eq!(manifest.capsule.needs.memory, capsule.packed.max_memory, "{name}");
        assert_eq!(capsule.packed.wasm, module, "{name}: packing a packed module changes nothing");
    }
}

/// No committed capsule keeps memory in pages of 64 KiB, or exports what no node calls.
#[test]
fn none_has_anything_to_note() {
    for capsule in capsules() {
        assert_eq!(capsule.packed.notes, [], "{}", capsule.name);
    }
}
