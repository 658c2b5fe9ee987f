//! How long a decision takes from pipelines and inventories to rows: 50 instances on 200 nodes, afresh and
//! after the loss of a node.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use capmesh_gateway::Rows;
use capmesh_gateway::catalog::Catalog;
use capmesh_gateway::pipeline::Pipeline;
use capmesh_gateway::plan::{Availability, Current, Ends, Node, Site, Weights, decide};
use capmesh_wire::bundle::HEAD;
use capmesh_wire::inventory::{Inventory, Share};
use capmesh_wire::{InstanceId, List, NodeId, Text};
use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::Path;

const NODES: u8 = 200;

const CHAIN: &str = "
[[capsule]]
name = \"convert\"
use = \"unit-conversion:1\"
[[capsule]]
name = \"average\"
use = \"moving-average:1\"
replicas = 2
[[capsule]]
name = \"window\"
use = \"windowed-statistics:1\"
[[capsule]]
name = \"kalman\"
use = \"kalman:1\"
[[wire]]
from = \"convert.celsius\"
to = [\"average.reading\", \"kalman.reading\"]
rate = 10
[[wire]]
from = \"average.mean\"
to = \"window.reading\"
delivery = \"every\"
rate = 10
[bridge]
publish = [\"window.summary\", \"kalman.estimate\"]
subscribe = { \"kelvin\" = \"convert.kelvin\" }
";

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    for name in ["unit-conversion", "moving-average", "windowed-statistics", "kalman"] {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/capsules/dist");
        let bundle = std::fs::read(dist.join(format!("{name}.capsule"))).unwrap();
        let len = usize::from(u16::from_be_bytes([bundle[HEAD - 2], bundle[HEAD - 1]]));
        let digest = catalog.insert(&bundle[HEAD..HEAD + len]).unwrap();
        catalog.refer(&format!("{name}:1"), digest).unwrap();
    }
    catalog
}

fn decisions(c: &mut Criterion) {
    let (catalog, labels, pinned) = (catalog(), BTreeSet::new(), BTreeMap::new());
    let refuses = BTreeMap::new();
    let pipelines: BTreeMap<String, Pipeline> = (0..10)
        .map(|n| {
            let name = format!("p{n}");
            let text = format!("[pipeline]\nname = \"{name}\"\n{CHAIN}");
            (name.clone(), Pipeline::parse(&name, &text).unwrap())
        })
        .collect();
    let names: Vec<String> = (0..NODES).map(|n| format!("n{n:03}")).collect();
    let abis = [1];
    let share = |total| Share { total, free: total };
    let node = |n: u8| {
        let size = 1 << (n % 3);
        let inventory = Inventory {
            wire: 1,
            firmware: Text::cut(""),
            board: Text::cut(""),
            abis: List::new(&abis).unwrap(),
            flash: share(size << 17),
            ram: share(size << 14),
            fuel: share(2_000_000),
            instances: share(8),
            chunk_log2: 10,
            sensors: List::EMPTY,
            actuators: List::EMPTY,
            sources: List::EMPTY,
            links: List::EMPTY,
            capsules: List::EMPTY,
        };
        let availability = Availability::Ready;
        let node = Node {
            name: &names[usize::from(n)],
            inventory: Some(inventory),
            labels: &labels,
            availability,
            refuses: &refuses,
        };
        (NodeId::from_bytes([n; NodeId::LEN]), node)
    };
    let mut nodes: BTreeMap<NodeId, Node<'_>> = (0..NODES).map(node).collect();
    let (rows, ends) = (Rows::default(), Ends::default());
    let ask = |nodes: &BTreeMap<NodeId, Node<'_>>, rows: &Rows, next| {
        let site = Site {
            pipelines: &pipelines,
            catalog: &catalog,
            nodes,
            pinned: &pinned,
            weights: Weights::default(),
        };
        decide(&site, Current { rows, ends: &ends, next: InstanceId(next) })
    };
    let first = ask(&nodes, &rows, 1);
    assert!(first.refusals.is_empty() && first.rows.0.len() == 50);
    println!("cost {}, optimal {}", first.cost.total(), first.optimal);
    c.bench_function("50 instances on 200 nodes, afresh", |b| {
        b.iter(|| ask(black_box(&nodes), &rows, 1));
    });
    let lost = first.rows.iter().next().map(|row| row.node).unwrap();
    nodes.get_mut(&lost).unwrap().availability = Availability::Lost;
    c.bench_function("50 instances on 200 nodes, one node lost", |b| {
        b.iter(|| ask(black_box(&nodes), &first.rows, first.next.0));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = decisions
}
criterion_main!(benches);
