//! A pipeline of three capsules across two nodes, with kills and a migration in the middle; beside
//! it the same on one node that nothing happens to. Both end with the same bytes.

use crate::aiocoap::Outsider;
use crate::controller::{At, Client, Controller, GATE, Row, from, to};
use crate::machine::{Machine, Place, capsule, command, config};
use capmesh::site::{OPERATOR, Site};
use capmesh_wire::cbor::List;
use capmesh_wire::control::{Command, Install, Quiesce, Release, Restore, Start, Target};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::Delivery::{Every, Latest};
use capmesh_wire::schema::Value;
use capmesh_wire::{Digest, Epoch, InstanceId, Role, Seq};

/// How many messages go through.
const MESSAGES: u64 = 10_000;

/// Messages for each summary.
const WINDOW: u64 = 100;

/// The stream that the controller feeds.
const SOURCE: u32 = 1000;

/// A reading in kelvin: irregular, the same each time.
fn reading(number: u64) -> f32 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    250.0 + f32::from(u16::try_from(mixed).unwrap()) / 1000.0
}

struct Capsules {
    convert: Digest,
    average: Digest,
    statistics: Digest,
    window: Vec<u8>,
}

impl Capsules {
    fn row(&self, pipeline: &'static str, name: &'static str, instance: u32) -> Row {
        let (capsule, config) = match name {
            "convert" => (self.convert, None),
            "average" => (self.average, None),
            _ => (self.statistics, Some(self.window.clone())),
        };
        let (inbound, outbound) = (Vec::new(), Vec::new());
        Row { instance, epoch: 1, capsule, pipeline, name, config, inbound, outbound }
    }
}

#[test]
fn kills_and_a_migration_change_nothing() {
    run("own", |_, _| Some(None));
}

#[test]
fn nor_does_it_with_an_ordinary_client() {
    run("ordinary", |place, site| Some(Some(Box::new(Outsider::start(place, site, OPERATOR)?))));
}

/// Who commands: nobody else than the gateway, or somebody; `None` where that one is not installed.
type Commander = fn(&Place, &Site) -> Option<Option<Box<dyn Client>>>;

fn run(test: &str, commander: Commander) {
    let place = Place::new(test);
    let mut site = Site::create(&place.site(), "bench").unwrap();
    site.make_member(GATE, Role::Gateway).unwrap();
    let mut machines = ["one", "two", "calm"].map(|name| Machine::start(&place, name));
    let [one, two, calm] = [0, 1, 2].map(|i| machines[i].adopt(&place));
    let site = Site::open(&place.site()).unwrap();
    // The first to come know nothing yet of those who came later.
    command(&place, &["direct", "sync"]);
    let Some(client) = commander(&place, &site) else { return };
    let mut gate = Controller::new(&site, client);

    let names = ["unit-conversion", "moving-average", "windowed-statistics"];
    let bundles = names.map(|name| capsule(&site, name));
    let [convert, average, statistics] = [0, 1, 2].map(|i| bundles[i].digest());
    let manifest = bundles[2].manifest().unwrap();
    let window = config(manifest.capsule.config, &[Some(Value::Uint(WINDOW))]);
    let capsules = Capsules { convert, average, statistics, window };

    // One gets the capsules from a person, the others from one.
    for bundle in &bundles {
        gate.put_capsule(one, &bundle.bundle());
    }
    gate.put_plan(two, &[one], &[]);
    gate.put_plan(calm, &[one], &[]);
    let sources = [one.id];
    for digest in [convert, average, statistics] {
        let install = Install { capsule: digest, sources: List::new(&sources).unwrap() };
        gate.command(two, &Command::Install(install));
        gate.command(calm, &Command::Install(install));
    }
    start(&mut gate, &capsules, one, two, calm);

    let manifest = bundles[0].manifest().unwrap();
    let schema = manifest.capsule.schema(manifest.capsule.inputs.get(0).unwrap().schema).unwrap();
    let feed = |gate: &mut Controller, range: std::ops::Range<u64>| {
        let values: Vec<_> = range.clone().map(reading).collect();
        gate.feed(calm, 11, SOURCE, &schema, range.start, &values);
        gate.feed(one, 1, SOURCE, &schema, range.start, &values);
    };
    feed(&mut gate, 0..2_500);
    machines[1].kill_and_restart();
    feed(&mut gate, 2_500..5_000);
    machines[0].kill_and_restart();
    feed(&mut gate, 5_000..6_000);
    migrate(&mut gate, &capsules, one, two);
    feed(&mut gate, 6_000..8_000);
    machines[0].kill_and_restart();
    feed(&mut gate, 8_000..MESSAGES);

    // A message more or less would shift every window after it: the last summary would be another.
    let last = Seq(MESSAGES / WINDOW - 1);
    let expected = gate.await_topic(calm, "calm/statistics/summary", |seq, _| seq == last);
    gate.await_topic(one, "bench/statistics/summary", |_, payload| payload == expected);
    // Over the `latest` wire something has come, and nothing out of place.
    let watched = gate.status(two, 4).unwrap();
    assert!(watched.handled > 0 && watched.handled <= MESSAGES, "{watched:?}");
}

/// Runs the pipeline on `one` and `two`, and the same on `calm`.
fn start(gate: &mut Controller, capsules: &Capsules, one: At, two: At, calm: At) {
    let [on_one, on_two] = rows(gate, capsules, one, two, two, 1);
    gate.put_plan(two, &[one], &on_two);
    gate.put_plan(one, &[two], &on_one);
    let mut convert = capsules.row("calm", "convert", 11);
    convert.inbound = vec![from(gate.id, SOURCE, Every)];
    convert.outbound = vec![to(calm.id, 12, Every)];
    let mut average = capsules.row("calm", "average", 12);
    average.inbound = vec![from(calm.id, 11, Every)];
    average.outbound = vec![to(calm.id, 13, Every)];
    let mut statistics = capsules.row("calm", "statistics", 13);
    statistics.inbound = vec![from(calm.id, 12, Every)];
    gate.put_plan(calm, &[], &[convert, average, statistics]);
    for (node, instances) in [(one, &[1, 3][..]), (two, &[2, 4]), (calm, &[11, 12, 13])] {
        for &instance in instances {
            gate.await_state(node, instance, InstanceState::Running);
        }
    }
}

/// The rows of both nodes, while the average is on `host` with this epoch.
fn rows(
    gate: &Controller,
    capsules: &Capsules,
    one: At,
    two: At,
    host: At,
    epoch: u32,
) -> [Vec<Row>; 2] {
    let mut convert = capsules.row("bench", "convert", 1);
    convert.inbound = vec![from(gate.id, SOURCE, Every)];
    convert.outbound = vec![to(host.id, 2, Every), to(two.id, 4, Latest)];
    let mut average = capsules.row("bench", "average", 2);
    average.epoch = epoch;
    average.inbound = vec![from(one.id, 1, Every)];
    average.outbound = vec![to(one.id, 3, Every)];
    let mut statistics = capsules.row("bench", "statistics", 3);
    statistics.inbound = vec![from(host.id, 2, Every)];
    let mut watched = capsules.row("bench", "watched", 4);
    watched.inbound = vec![from(one.id, 1, Latest)];
    watched.capsule = capsules.average;
    watched.config = None;
    if host.id == one.id {
        [vec![convert, average, statistics], vec![watched]]
    } else {
        [vec![convert, statistics], vec![average, watched]]
    }
}

/// Moves the average from `two` to `one`, while its state holds what the next means depend on.
fn migrate(gate: &mut Controller, capsules: &Capsules, one: At, two: At) {
    let [on_one, on_two] = rows(gate, capsules, one, two, one, 2);
    let instance = InstanceId(2);
    let (old, new) = (Target { instance, epoch: Epoch(1) }, Target { instance, epoch: Epoch(2) });
    let row = on_one[1].clone();
    let sources = [two.id];
    let start = Start {
        target: new,
        assignment: Some(row.assignment()),
        sources: List::new(&sources).unwrap(),
    };
    gate.command(one, &Command::Prepare(start));
    gate.await_state(one, 2, InstanceState::Prepared);
    let quiesce = Command::Quiesce(Quiesce { target: old, to: one.id });
    let mut snapshot = gate.command(two, &quiesce);
    if snapshot.is_none() {
        gate.await_state(two, 2, InstanceState::Quiescent);
        snapshot = gate.command(two, &quiesce);
    }
    let snapshot = snapshot.expect("a quiescent instance has a snapshot");
    gate.command(one, &Command::Restore(Restore { target: new, snapshot, from: two.id }));
    gate.await_state(one, 2, InstanceState::Restored);
    gate.put_plan(one, &[two], &on_one);
    gate.command(one, &Command::Start(start));
    gate.await_state(one, 2, InstanceState::Running);
    gate.put_plan(two, &[one], &on_two);
    gate.command(two, &Command::Release(Release { target: old, to: one.id }));
}
