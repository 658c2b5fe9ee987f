//! The example pipelines against the example capsules as they are committed, on the six nodes of
//! `capmesh up`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use capmesh_gateway::Rows;
use capmesh_gateway::catalog::Catalog;
use capmesh_gateway::pipeline::{Delivery, Pipeline};
use capmesh_gateway::plan::{
    Availability, Current, Decision, Ends, Node, Site, Weights, changes, decide,
};
use capmesh_wire::bundle::HEAD;
use capmesh_wire::inventory::{Inventory, Sensor, Share};
use capmesh_wire::schema::{Field, FieldType, Schema};
use capmesh_wire::{InstanceId, List, Manifest, Name, NodeId, SchemaTag, Text, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Every committed capsule, by its own name and version.
fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    for entry in std::fs::read_dir(examples().join("capsules/dist")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "capsule") {
            let bundle = std::fs::read(&path).unwrap();
            let len = usize::from(u16::from_be_bytes([bundle[HEAD - 2], bundle[HEAD - 1]]));
            let digest = catalog.insert(&bundle[HEAD..HEAD + len]).unwrap();
            let manifest: Manifest<'_> = catalog.manifest(&digest).unwrap();
            let name = format!("{}:{}", manifest.name, manifest.capsule.version);
            catalog.refer(&name, digest).unwrap();
        }
    }
    catalog
}

fn tag(name: &str, fields: &[(&str, FieldType, Unit)]) -> SchemaTag {
    let field =
        |&(name, ty, unit)| Field { name: Name::new(name).unwrap(), ty, unit, optional: false };
    let fields: Vec<_> = fields.iter().map(field).collect();
    Schema::new(Name::new(name).unwrap(), 1, List::new(&fields).unwrap()).unwrap().id().tag()
}

/// The sensors of a Linux node, as `node/linux` describes them.
fn machine() -> Vec<(&'static str, SchemaTag)> {
    use FieldType::{F32, F64, U64};
    let bytes = |name| (name, U64, Unit::Byte);
    let rate = |name| (name, F64, Unit::BitPerSecond);
    let load = tag("load", &[("value", F32, Unit::Ratio)]);
    vec![
        ("cpu", load),
        ("cpu0", load),
        ("memory", tag("memory", &[bytes("total"), bytes("available"), bytes("swap-used")])),
        ("disk", tag("disk", &[bytes("total"), bytes("available")])),
        ("network", tag("network", &[rate("received"), rate("sent")])),
    ]
}

const NAMES: [&str; 6] = ["hall", "attic", "street", "kitchen", "cellar", "garage"];

fn id(name: &str) -> NodeId {
    let number = NAMES.iter().position(|n| *n == name).unwrap();
    NodeId::from_bytes([u8::try_from(number + 1).unwrap(); 8])
}

/// Decides about `pipelines` on the six nodes: two with the machine's sensors, one that replays.
fn on_six(
    catalog: &Catalog,
    pipelines: &BTreeMap<String, Pipeline>,
    rows: &Rows,
    lost: &[&str],
) -> Decision {
    let machine: Vec<Sensor<'_>> = machine()
        .into_iter()
        .map(|(name, schema)| Sensor { name: Name::new(name).unwrap(), schema })
        .collect();
    let air =
        capmesh_description::Schema::read(&examples().join("pipelines/data/air-quality.toml"));
    let air = air.ok().and_then(|air| air.with_wire(|schema| schema.id().tag()).ok());
    let replay: Vec<Sensor<'_>> = air
        .map(|schema| Sensor { name: Name::new("air-quality").unwrap(), schema })
        .into_iter()
        .collect();
    let labels = BTreeSet::new();
    let refuses = BTreeMap::new();
    let abis = [1];
    let share = |total| Share { total, free: total };
    let node = |name: &'static str| {
        let (sensors, size): (&[Sensor<'_>], u32) = match name {
            "hall" | "attic" => (&machine, 2),
            "street" => (&replay, 2),
            _ => (&[], 1),
        };
        let inventory = Inventory {
            wire: 1,
            firmware: Text::cut("test"),
            board: Text::cut("linux"),
            abis: List::new(&abis).unwrap(),
            flash: share(size << 19),
            ram: share(size << 17),
            fuel: share(size * 500_000),
            instances: share(16),
            chunk_log2: 10,
            sensors: List::new(sensors).unwrap(),
            actuators: List::EMPTY,
            sources: List::EMPTY,
            links: List::EMPTY,
            capsules: List::EMPTY,
        };
        let availability = match lost.contains(&name) {
            true => Availability::Lost,
            false => Availability::Ready,
        };
        let (inventory, labels, refuses) = (Some(inventory), &labels, &refuses);
        (id(name), Node { name, inventory, labels, availability, refuses })
    };
    let nodes: BTreeMap<NodeId, Node<'_>> = NAMES.map(node).into();
    let pinned = BTreeMap::new();
    let site =
        Site { pipelines, catalog, nodes: &nodes, pinned: &pinned, weights: Weights::default() };
    for pipeline in pipelines.values() {
        if let Err(mistakes) = catalog.check(pipeline, &site.offers()) {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}", mistakes.join("\n"));
        }
    }
    let next = rows.iter().map(|row| row.instance.0 + 1).max().unwrap_or(1);
    let ends = Ends::default();
    decide(&site, Current { rows, ends: &ends, next: InstanceId(next) })
}

fn pipeline(name: &str) -> Pipeline {
    let path = examples().join(format!("pipelines/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    Pipeline::parse(&format!("{name}.toml"), &text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn refusals(decision: &Decision) -> Vec<String> {
    decision.refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn machine_health_runs_on_three_nodes_or_more_and_survives_the_loss_of_one() {
    let catalog = catalog();
    let pipelines: BTreeMap<_, _> =
        [("machine-health".to_owned(), pipeline("machine-health"))].into();
    let decision = on_six(&catalog, &pipelines, &Rows::default(), &[]);
    assert_eq!(refusals(&decision), [""; 0]);
    let nodes: BTreeSet<NodeId> = decision.rows.iter().map(|row| row.node).collect();
    assert!(nodes.len() >= 3 && decision.rows.0.len() >= 5, "{nodes:?}");
    // Nobody has a temperature here; it is optional.
    assert!(decision.rows.find("machine-health", "temperature", 0).is_none());
    let wires: Vec<_> = decision.rows.iter().flat_map(|row| &row.outbound).collect();
    for delivery in [Delivery::Every, Delivery::Latest] {
        assert!(wires.iter().any(|wire| wire.delivery == delivery), "{delivery:?}");
    }
    assert_eq!(decision.egress.len(), 7);
    assert_eq!(decision.ingress[0].topic, "machine-health/limit");
    // Whatever node is lost, what was on it goes elsewhere; sensing goes to the other that senses.
    for lost in NAMES {
        let after = on_six(&catalog, &pipelines, &decision.rows, &[lost]);
        assert!(after.rows.iter().all(|row| row.node != id(lost) || !after.refusals.is_empty()));
        let sensing = ["hall", "attic"].contains(&lost);
        // CPU and memory must not be on one node, so one of them waits.
        assert_eq!(after.refusals.len(), usize::from(sensing), "{lost}: {:?}", refusals(&after));
        assert!(changes(&decision.rows, &after.rows).len() <= decision.rows.0.len());
    }
}

#[test]
fn city_air_runs_beside_machine_health_where_its_recording_is_played() {
    let catalog = catalog();
    let names = ["city-air", "machine-health"];
    let pipelines: BTreeMap<_, _> =
        names.into_iter().map(|name| (name.to_owned(), pipeline(name))).collect();
    let decision = on_six(&catalog, &pipelines, &Rows::default(), &[]);
    assert_eq!(refusals(&decision), [""; 0]);
    let at = |name| decision.rows.find("city-air", name, 0).map(|row| row.node);
    assert_eq!(at("parse"), Some(id("street")));
    assert_eq!(at("join"), at("annotate"));
    let rows = decision.rows.iter().filter(|row| row.pipeline == "city-air");
    assert_eq!(rows.count(), 9);
    // Nothing moves when the same is asked again.
    let again = on_six(&catalog, &pipelines, &decision.rows, &[]);
    assert_eq!(changes(&decision.rows, &again.rows), []);
}
