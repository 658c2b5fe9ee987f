use super::*;
use crate::catalog::testing::{Recipe, catalog, name, with_schemas};
use crate::rows::Rows;
use capmesh_wire::cbor::List;
use capmesh_wire::inventory::{Sensor, Share};
use capmesh_wire::plan::{Delivery, Inbound};
use capmesh_wire::{Epoch, InstanceId, Text};
use proptest::prelude::*;

/// A node of a test: RAM in bytes, whether it has the sensor `probe`, and how it is.
#[derive(Clone, Debug)]
struct Machine {
    ram: u32,
    probe: bool,
    availability: Availability,
    is_known: bool,
    refuses: BTreeMap<Digest, ErrorCode>,
}

impl Machine {
    const fn new(ram: u32, probe: bool) -> Self {
        let refuses = BTreeMap::new();
        Self { ram, probe, availability: Availability::Ready, is_known: true, refuses }
    }
}

fn id(n: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(n).unwrap() + 1; 8])
}

/// A gateway that only plans.
struct World {
    catalog: Catalog,
    machines: Vec<Machine>,
    pipelines: BTreeMap<String, Pipeline>,
    pinned: BTreeMap<InstanceName, NodeId>,
    rows: Rows,
    ends: Ends,
    next: InstanceId,
}

impl World {
    fn new(machines: Vec<Machine>) -> Self {
        let (pipelines, pinned) = (BTreeMap::new(), BTreeMap::new());
        let (rows, ends, next) = (Rows::default(), Ends::default(), InstanceId(1));
        Self { catalog: catalog(), machines, pipelines, pinned, rows, ends, next }
    }

    fn deploy(&mut self, name: &str, text: &str) {
        let text = format!("[pipeline]\nname = \"{name}\"\n{text}");
        let pipeline = Pipeline::parse(name, &text).unwrap_or_else(|faults| panic!("{faults}"));
        self.pipelines.insert(name.to_owned(), pipeline);
    }

    fn decide(&self) -> Decision {
        let probe = with_schemas(|schemas| schemas[0].id().tag());
        let sensors = [Sensor { name: name("probe"), schema: probe }];
        let labels = BTreeSet::from(["dry".to_owned()]);
        let (none, abis) = (BTreeSet::new(), [1]);
        let share = |total| Share { total, free: total };
        let names: Vec<String> = (0..self.machines.len()).map(|n| format!("n{n}")).collect();
        let node = |(n, machine): (usize, &Machine)| {
            let sensors = if machine.probe { &sensors[..] } else { &[] };
            let inventory = Inventory {
                wire: 1,
                firmware: Text::cut(""),
                board: Text::cut(""),
                abis: List::new(&abis).unwrap(),
                flash: share(1 << 20),
                ram: share(machine.ram),
                fuel: share(1_000_000),
                instances: share(8),
                chunk_log2: 10,
                sensors: List::new(sensors).unwrap(),
                actuators: List::EMPTY,
                sources: List::EMPTY,
                links: List::EMPTY,
                capsules: List::EMPTY,
            };
            let labels = if n == 0 { &labels } else { &none };
            (inventory, labels)
        };
        let made: Vec<_> = self.machines.iter().enumerate().map(node).collect();
        let nodes: BTreeMap<NodeId, Node<'_>> = made
            .iter()
            .zip(&self.machines)
            .zip(&names)
            .enumerate()
            .map(|(n, (((inventory, labels), machine), name))| {
                let inventory = machine.is_known.then_some(*inventory);
                let (availability, refuses) = (machine.availability, &machine.refuses);
                (id(n), Node { name, inventory, labels, availability, refuses })
            })
            .collect();
        let site = Site {
            pipelines: &self.pipelines,
            catalog: &self.catalog,
            nodes: &nodes,
            pinned: &self.pinned,
            weights: Weights::default(),
        };
        decide(&site, Current { rows: &self.rows, ends: &self.ends, next: self.next })
    }

    /// Decides, and has everything done at once.
    fn settle(&mut self) -> Decision {
        let decision = self.decide();
        let before = std::mem::replace(&mut self.rows, decision.rows.clone());
        for row in self.rows.0.values_mut() {
            if before.get(row.instance).is_some_and(|before| before.node != row.node) {
                row.fence = row.fence.next();
                row.epoch = row.fence;
            }
        }
        (self.ends, self.next) = (decision.ends.clone(), decision.next);
        decision
    }

    fn node(&self, path: &str) -> Option<usize> {
        let row = self.rows.iter().find(|row| row.path() == path)?;
        (0..self.machines.len()).find(|n| id(*n) == row.node)
    }
}

fn capsule(name: &str, uses: &str, more: &str) -> String {
    format!("[[capsule]]\nname = \"{name}\"\nuse = \"{uses}\"\n{more}\n")
}

fn wire(from: &str, to: &str) -> String {
    format!("[[wire]]\nfrom = \"{from}\"\nto = \"{to}\"\ndelivery = \"every\"\n")
}

/// Two that sense and one that sums, bridged both ways.
fn sums(more: &str) -> String {
    [
        capsule("sense", "t/sense:1", &format!("replicas = 2\n{more}")),
        capsule("sum", "t/sum:1", ""),
        wire("sense.reading", "sum.left"),
        "[bridge]\npublish = [\"sum.total\", \"sense.reading\"]\nsubscribe = { \"a/b\" = \"sum.right\" }\n".into(),
    ]
    .concat()
}

fn messages(decision: &Decision) -> Vec<String> {
    decision.refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn wires_have_two_ends_and_bridges_one_at_the_gateway() {
    let mut world = World::new(vec![Machine::new(10_000, true), Machine::new(10_000, false)]);
    world.deploy("p", &sums(""));
    let decision = world.settle();
    assert_eq!(messages(&decision), [""; 0]);
    assert_eq!(world.rows.0.len(), 3);
    let sum = world.rows.find("p", "sum", 0).unwrap();
    let end_in = world.ends.0[&BridgeName::Subscribe { pipeline: "p".into(), topic: "a/b".into() }];
    let inbound: Vec<_> =
        sum.inbound.iter().map(|wire: &Inbound| (wire.input, wire.instance)).collect();
    let sense = |n| world.rows.find("p", "sense", n).unwrap();
    assert_eq!(inbound, [(0, sense(0).instance), (0, sense(1).instance), (1, end_in)]);
    assert_eq!(sense(1).outbound[0].instance, sum.instance);
    assert_eq!(sense(1).outbound[0].delivery, Delivery::Every);
    // Both replicas end at one instance of the gateway.
    let ends: BTreeSet<_> = [sense(0), sense(1)].map(|row| row.outbound[1].instance).into();
    assert_eq!(ends.len(), 1);
    let streams: Vec<_> = decision.egress.iter().map(|e| (e.end, e.producer)).collect();
    assert_eq!(streams.len(), 3);
    assert!(streams.contains(&(*ends.first().unwrap(), sense(1).instance)));
    let ingress = &decision.ingress[0];
    assert_eq!((ingress.end, &*ingress.topic), (end_in, "a/b"));
    assert_eq!(
        (ingress.consumers[0].instance, &*ingress.consumers[0].input),
        (sum.instance, "right")
    );
    // Every row says why.
    assert!(world.rows.0.keys().all(|instance| decision.reasons.contains_key(instance)));
    // Everything has a durable form.
    for row in world.rows.iter() {
        assert_eq!(crate::rows::Row::decode(&row.encode().unwrap()).as_ref(), Some(row));
    }
    let mut ends = Ends::default();
    assert!(world.ends.records().all(|(end, record)| ends.restore(end, &record)));
    assert_eq!(ends, world.ends);
    assert!(!ends.restore(InstanceId(1), b"no record"));
}

#[test]
fn peers_and_pairs_are_joined_by_number() {
    let mut world = World::new(vec![Machine::new(20_000, true)]);
    world.deploy(
        "p",
        &[
            capsule("sum", "t/sum:1", "replicas = 2"),
            capsule("show", "t/show:1", "replicas = 3\npeers = { source = \"sum\" }"),
            wire("sum.total", "show.load"),
            "replicas = \"paired\"\n".into(),
        ]
        .concat(),
    );
    assert_eq!(messages(&world.settle()), [""; 0]);
    let sum: Vec<_> = (0..2).map(|n| world.rows.find("p", "sum", n).unwrap().instance).collect();
    for n in 0..3 {
        let show = world.rows.find("p", "show", n).unwrap();
        let expected = sum[usize::from(n % 2)];
        assert_eq!(show.peers[0].instance, expected);
        assert_eq!(show.inbound.iter().map(|wire| wire.instance).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn what_does_not_fit_says_what_it_needs_and_what_is_lacking() {
    let mut world = World::new(vec![Machine::new(900, true), Machine::new(800, true)]);
    world.deploy("p", &capsule("sense", "t/sense:1", ""));
    let decision = world.decide();
    assert_eq!(decision.rows.0.len(), 0);
    let refusal = &decision.refusals[0];
    assert_eq!((refusal.kind, refusal.kind.name()), (RefusalKind::DoesNotFit, "does-not-fit"));
    assert_eq!((refusal.best.as_deref(), refusal.lacks.len()), (Some("n0"), 1));
    assert!(
        refusal.message.contains("p/sense does not fit on any node: it needs ")
            && refusal.message.ends_with("the best, `n0`, is short of 100 bytes of RAM"),
        "{}",
        refusal.message
    );
    assert_eq!(decision.refusals_of("p").count(), 1);
    assert_eq!(decision.refusals_of("q").count(), 0);
}

#[test]
fn refusals_have_kinds() {
    let kind = |world: &World| {
        let decision = world.decide();
        assert_eq!(decision.refusals.len(), 1, "{:?}", messages(&decision));
        decision.refusals[0].kind
    };
    let mut world = World::new(vec![Machine::new(10_000, false)]);
    world.deploy("p", &capsule("sense", "t/sense:1", ""));
    assert_eq!(kind(&world), RefusalKind::Sensor);
    world.deploy("p", &capsule("f", "t/filter:1", "affinity = { labels = [\"wet\"] }"));
    assert_eq!(kind(&world), RefusalKind::Label);
    world.deploy("p", &capsule("f", "t/filter:1", "replicas = 2\naffinity = { apart = [\"f\"] }"));
    assert_eq!(kind(&world), RefusalKind::NoRoom);
    let both = "affinity = { apart = [\"g\"], together = [\"g\"] }";
    let text = [capsule("f", "t/filter:1", both), capsule("g", "t/filter:1", "")].concat();
    world.deploy("p", &text);
    assert_eq!(kind(&world), RefusalKind::Contradiction);
    world.deploy("p", &capsule("f", "t/filter:1", "config = { a = 1 }"));
    assert_eq!(kind(&world), RefusalKind::Mistakes);
    world.deploy("p", &capsule("f", "t/filter:1", ""));
    world.machines[0].availability = Availability::Draining;
    assert_eq!(kind(&world), RefusalKind::Draining);
    world.machines.clear();
    assert_eq!(kind(&world), RefusalKind::NoNodes);
    assert!(world.decide().refusals[0].message.contains("adopt one first"));
}

#[test]
fn a_node_that_refuses_a_capsule_is_not_asked_again() {
    let mut world = World::new(vec![Machine::new(9_000, true); 3]);
    world.deploy("p", &capsule("f", "t/filter:1", ""));
    world.settle();
    let path = "p/f/0";
    let first = world.node(path).unwrap();
    let digest = world.rows.iter().next().unwrap().capsule;
    // Somebody even wants it there.
    let next = (first + 1) % 3;
    world.machines[first].availability = Availability::Lost;
    world.machines[next].refuses.insert(digest, ErrorCode::RolledBack);
    world.pinned.insert(InstanceName::of(world.rows.iter().next().unwrap()), id(next));
    world.settle();
    assert_eq!(world.node(path), Some((first + 2) % 3));
    // Where all refuse it stays, and that is said.
    let last = world.node(path).unwrap();
    world.machines[last].availability = Availability::Lost;
    let decision = world.settle();
    assert_eq!(world.node(path), Some(last));
    assert_eq!(decision.refusals[0].kind, RefusalKind::Refused);
    assert!(decision.refusals[0].message.contains("has refused it"));
}

#[test]
fn something_new_never_drives_out_what_runs() {
    let mut world = World::new(vec![Machine::new(3_000, true)]);
    world.deploy("old", &sums(""));
    assert_eq!(messages(&world.settle()), [""; 0]);
    let before = world.rows.clone();
    // Its name comes first, and it is no larger.
    world.deploy("a", &capsule("f", "t/filter:1", ""));
    let decision = world.decide();
    assert_eq!(decision.rows, before);
    assert_eq!(decision.refusals.len(), 1);
    assert_eq!(decision.refusals[0].capsules, ["a/f"]);
}

#[test]
fn the_instances_of_a_lost_node_go_elsewhere_or_wait() {
    let mut world = World::new(vec![Machine::new(9_000, true); 3]);
    world.deploy("go", &sums(""));
    world.deploy("wait", &capsule("f", "t/filter:1", "failover = \"none\""));
    world.settle();
    let (old, waits) = (world.rows.clone(), world.node("wait/f/0").unwrap());
    for lost in 0..3 {
        let mut world = World { rows: old.clone(), ..World::new(world.machines.clone()) };
        world.next = InstanceId(100);
        world.deploy("go", &sums(""));
        world.deploy("wait", &capsule("f", "t/filter:1", "failover = \"none\""));
        world.machines[lost].availability = Availability::Lost;
        let decision = world.settle();
        assert_eq!(messages(&decision), [""; 0]);
        for row in world.rows.iter() {
            let before = old.get(row.instance).unwrap();
            let moved = row.node != before.node;
            assert_eq!(row.epoch > before.epoch, moved);
            assert!(row.node != id(lost) || row.pipeline == "wait");
        }
        assert_eq!(world.node("wait/f/0"), Some(waits));
    }
}

#[test]
fn nothing_moves_from_a_node_that_has_yet_to_say_what_it_has() {
    let mut world = World::new(vec![Machine::new(9_000, true); 2]);
    world.deploy("p", &sums(""));
    world.settle();
    let before = world.rows.clone();
    // As after a start of the gateway.
    world.machines.iter_mut().for_each(|machine| machine.is_known = false);
    assert_eq!(world.decide().rows, before);
    world.machines[1].is_known = true;
    assert_eq!(world.decide().rows, before);
}

#[test]
fn a_pin_decides() {
    let mut world = World::new(vec![Machine::new(9_000, true); 3]);
    world.deploy("p", &capsule("f", "t/filter:1", "replicas = 2"));
    world.settle();
    let name: InstanceName = "p/f/1".parse().unwrap();
    for to in [2, 0, 1] {
        world.pinned.insert(name.clone(), id(to));
        let decision = world.settle();
        assert_eq!((messages(&decision), world.node("p/f/1")), (vec![], Some(to)));
    }
    // One that will not do is refused, and it stays.
    world.machines[2].ram = 10;
    world.pinned.insert(name, id(2));
    let decision = world.settle();
    assert_eq!(world.node("p/f/1"), Some(1));
    assert_eq!(decision.refusals[0].best.as_deref(), Some("n2"));
}

#[test]
fn another_capsule_or_other_settings_mean_a_later_epoch() {
    let mut world = World::new(vec![Machine::new(9_000, true)]);
    let show = |config: &str| {
        let show =
            capsule("show", "t/show:1", &format!("peers = {{ source = \"sum\" }}\n{config}"));
        [capsule("sum", "t/sum:1", ""), show].concat()
    };
    world.deploy("p", &show(""));
    world.settle();
    let first = world.rows.find("p", "show", 0).unwrap().clone();
    assert_eq!((first.epoch, &first.config), (Epoch(1), &None));
    world.deploy("p", &show("config = { hold = 3 }"));
    let before = world.rows.clone();
    world.settle();
    let second = world.rows.find("p", "show", 0).unwrap().clone();
    assert_eq!((second.instance, second.epoch), (first.instance, Epoch(2)));
    assert!(matches!(changes(&before, &world.rows)[..], [Change::Update { .. }]));
    // The tag stands for another capsule from now on.
    let newer =
        Recipe { name: "t/sum", services: &[("total", None, Some(1))], ..Recipe::default() };
    newer.publish(&mut world.catalog);
    let before = world.rows.clone();
    world.settle();
    assert_eq!(world.rows.find("p", "sum", 0).unwrap().epoch, Epoch(2));
    assert!(matches!(changes(&before, &world.rows)[..], [Change::Update { .. }]));
    // A pipeline that is gone stops.
    world.pipelines.clear();
    let before = world.rows.clone();
    world.settle();
    assert_eq!(changes(&before, &world.rows).len(), 2);
    assert!(world.rows.0.is_empty() && world.ends.0.is_empty());
}

#[test]
fn names_of_instances_are_read_and_written() {
    let name: InstanceName = "city-air/clean/2".parse().unwrap();
    assert_eq!(
        (&*name.capsule, name.replica, name.to_string()),
        ("clean", 2, "city-air/clean/2".into())
    );
    assert_eq!("p/c".parse::<InstanceName>().unwrap().replica, 0);
    for wrong in ["", "p", "p/c/x", "p/c/256", "p/c/1/2", "P/c/1", "p//1"] {
        assert_eq!(wrong.parse::<InstanceName>(), Err(InvalidInstance), "{wrong}");
    }
}

/// Something that happens to a mesh.
#[derive(Clone, Debug)]
enum Step {
    Deploy { pipeline: u8, sensing: u8, filters: u8, apart: bool, wait: bool },
    Remove(u8),
    Availability(usize, u8),
    Pin(u8, usize),
    Unpin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deploy = (0..3_u8, 1..4_u8, 0..4_u8, any::<bool>(), any::<bool>()).prop_map(
        |(pipeline, sensing, filters, apart, wait)| Step::Deploy {
            pipeline,
            sensing,
            filters,
            apart,
            wait,
        },
    );
    let step = prop_oneof![
        4 => deploy,
        1 => (0..3_u8).prop_map(Step::Remove),
        3 => (0..4_usize, 0..3_u8).prop_map(|(node, how)| Step::Availability(node, how)),
        1 => (0..3_u8, 0..4_usize).prop_map(|(pipeline, node)| Step::Pin(pipeline, node)),
        1 => Just(Step::Unpin),
    ];
    prop::collection::vec(step, 1..12)
}

fn apply(world: &mut World, step: &Step) {
    match *step {
        Step::Deploy { pipeline, sensing, filters, apart, wait } => {
            let failover = if wait { "failover = \"none\"\n" } else { "" };
            let affinity = if apart { "affinity = { apart = [\"sense\"] }\n" } else { "" };
            let mut text = capsule(
                "sense",
                "t/sense:1",
                &format!("replicas = {sensing}\n{failover}{affinity}"),
            );
            if filters > 0 {
                text += &capsule("filter", "t/filter:1", &format!("replicas = {filters}"));
                text += &wire("sense.reading", "filter.reading");
                text += "[bridge]\npublish = [\"filter.valid\"]\nsubscribe = { \"x\" = \"filter.reading\" }\n";
            }
            world.deploy(&format!("p{pipeline}"), &text);
        }
        Step::Remove(pipeline) => drop(world.pipelines.remove(&format!("p{pipeline}"))),
        Step::Availability(node, how) => {
            let all = [Availability::Ready, Availability::Draining, Availability::Lost];
            world.machines[node].availability = all[usize::from(how)];
        }
        Step::Pin(pipeline, node) => {
            let name = format!("p{pipeline}/sense/0").parse().unwrap();
            world.pinned.insert(name, id(node));
        }
        Step::Unpin => world.pinned.clear(),
    }
}

fn check(world: &World, decision: &Decision, known: &mut BTreeMap<InstanceId, String>) {
    // No node has more than it can carry.
    for (n, machine) in world.machines.iter().enumerate() {
        let ram: u32 = world.rows.of(id(n)).map(|_| 1_000).sum();
        assert!(ram <= machine.ram && world.rows.of(id(n)).count() <= 8, "node {n}: {ram}");
    }
    // A number belongs to one place of one pipeline for ever.
    let ends = world.ends.0.iter().map(|(name, end)| (*end, format!("{name:?}")));
    for (instance, path) in world.rows.iter().map(|row| (row.instance, row.path())).chain(ends) {
        assert!(instance < world.next);
        assert_eq!(known.entry(instance).or_insert_with(|| path.clone()), &path);
    }
    let paths: BTreeSet<String> = world.rows.iter().map(crate::rows::Row::path).collect();
    assert_eq!(paths.len(), world.rows.0.len());
    // Every outbound wire has its inbound one, and the other way round.
    let is_end = |instance| world.ends.0.values().any(|end| *end == instance);
    for row in world.rows.iter() {
        for wire in &row.outbound {
            let Some(to) = world.rows.get(wire.instance) else {
                assert!(is_end(wire.instance));
                continue;
            };
            let matching = to.inbound.iter().filter(|into| {
                (into.instance, into.output, into.input, into.delivery)
                    == (row.instance, wire.output, wire.input, wire.delivery)
            });
            assert_eq!(matching.count(), 1);
        }
        for wire in &row.inbound {
            match world.rows.get(wire.instance) {
                Some(from) => assert!(from.outbound.iter().any(|o| o.instance == row.instance)),
                None => assert!(is_end(wire.instance)),
            }
        }
    }
    // What is wanted runs, or somebody is told why not.
    for (name, pipeline) in &world.pipelines {
        let wanted: usize = pipeline.capsules.iter().map(|c| usize::from(c.replicas)).sum();
        let there = world.rows.iter().filter(|row| row.pipeline == *name).count();
        assert!(there == wanted || decision.refusals_of(name).count() > 0, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_plans_stay_sound(steps in steps()) {
        let sizes = [(2_000, true), (3_500, true), (5_000, false), (9_000, true)];
        let machines = sizes.map(|(ram, probe)| Machine::new(ram, probe)).to_vec();
        let (mut world, mut known) = (World::new(machines), BTreeMap::new());
        for step in &steps {
            apply(&mut world, step);
            let again = world.decide();
            let decision = world.settle();
            prop_assert_eq!(&again.rows, &decision.rows);
            check(&world, &decision, &mut known);
            // Asked again, nothing moves.
            let moves = changes(&world.rows, &world.decide().rows);
            prop_assert!(moves.is_empty(), "{:?}", moves);
        }
    }
}
