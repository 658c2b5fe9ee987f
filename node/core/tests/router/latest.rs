//! `latest` wires: the newest arrives, nothing goes back, loss is counted, nobody is flooded.

use crate::world::{Kind, Life, Plan, Site, ToOrigin, Wire, address, seeds, world};
use capmesh_coap::test_util::{Dice, Faults, World};
use capmesh_node::router::{Config, Origin};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{InstanceId, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

const SOURCE: u32 = 1;
const SINK: u32 = 2;
const BUSY: Instant = Instant::from_secs(30);

const BAD: Faults = Faults {
    loss: 20,
    duplication: 10,
    delay: Duration::from_millis(1)..Duration::from_millis(150),
};

fn kinds(millis: u64) -> BTreeMap<u32, Kind> {
    let every = Duration::from_millis(millis);
    [(SOURCE, Kind::Source { every, until: BUSY }), (SINK, Kind::Sink)].into()
}

fn plan() -> Plan {
    Plan::new(&[(SOURCE, 1), (SINK, 2)], &[Wire::latest(SOURCE, SINK)])
}

fn had(world: &World<Site>, machine: u8) -> Vec<u64> {
    world.machines[&address(machine)].running[&SINK].memory.had.iter().map(|(_, v)| *v).collect()
}

fn published(world: &World<Site>, machine: u8) -> &[u64] {
    &world.machines[&address(machine)].running[&SOURCE].memory.published
}

/// Checks that values rise and that the last one published is the last one that came.
fn check(world: &World<Site>, source: u8, sink: u8, seed: u64) {
    let had = had(world, sink);
    assert!(had.is_sorted_by(|a, b| a < b), "seed {seed}: it went back: {had:x?}");
    assert_eq!(had.last(), published(world, source).last(), "seed {seed}: the newest is missing");
}

#[test]
fn the_newest_arrives_and_what_is_lost_is_counted() {
    for seed in seeds() {
        let (plan, config) = (plan(), Config::default());
        let mut world = world(seed, BAD, 2, &plan, &kinds(100), &config, Life::EASY);
        world.run_until(Instant::from_secs(28));
        world.faults = Faults::NONE;
        world.run_to_rest(Instant::from_secs(4_000));
        check(&world, 1, 2, seed);
        let (published, had) = (published(&world, 1), had(&world, 2));
        assert!(had.len() > 100 && had.len() < published.len(), "seed {seed}: {}", had.len());
        let sink = world.machines[&address(2)].router.counters(InstanceId(SINK)).unwrap();
        let before = published.iter().position(|value| *value == had[0]).unwrap();
        assert_eq!(sink.dropped as usize, published.len() - before - had.len(), "seed {seed}");
        let source = world.machines[&address(1)].router.counters(InstanceId(SOURCE)).unwrap();
        assert_eq!(source.dropped, 0);
    }
}

#[test]
fn a_fast_producer_is_held_to_the_pace() {
    let (plan, config) = (plan(), Config::default());
    let mut world = world(1, Faults::NONE, 2, &plan, &kinds(1), &config, Life::EASY);
    world.run_until(Instant::from_secs(5));
    let sent = world.sent.iter().filter(|(_, datagram)| datagram.from == address(1)).count();
    let allowed = 5 * 20 + usize::from(config.burst) + 1;
    assert!((90..=allowed).contains(&sent), "{sent} datagrams");
    assert!(published(&world, 1).len() > 3_000 && had(&world, 2).len() <= sent);
}

#[test]
fn crashes_of_either_side_do_not_silence_it() {
    for seed in seeds() {
        let (plan, config) = (plan(), Config::default());
        let mut world = world(seed, BAD, 2, &plan, &kinds(100), &config, Life::EASY);
        let mut dice = Dice::new(seed);
        let mut boot = 1;
        while world.now < Instant::from_secs(20) {
            let later = world.now + Duration::from_millis(dice.within(100..5_000));
            world.run_until(later);
            boot += 1;
            let machine = u8::try_from(dice.within(1..3)).unwrap();
            // Across a crash of its own a sink without commits may get a message again.
            let had = had(&world, 2);
            assert!(had.is_sorted_by(|a, b| a < b), "seed {seed}: {had:x?}");
            let (flash, dice) = world.machines.remove(&address(machine)).unwrap().crash();
            assert!(flash.records.is_empty(), "nothing here waits for commits");
            let mut site = Site::new(machine, config.clone(), Life::EASY, boot, dice);
            site.restart(world.now, &plan, &kinds(100));
            world.machines.insert(address(machine), site);
        }
        world.faults = Faults::NONE;
        world.run_to_rest(Instant::from_secs(4_000));
        check(&world, 1, 2, seed);
        // Five seconds of quiet at the end: nothing was held back by numbers of an earlier life.
        assert!(published(&world, 1).len() > 20, "seed {seed}");
    }
}

#[test]
fn a_stale_copy_is_not_heard() {
    let (mut plan, config) = (plan(), Config::default());
    let kinds = kinds(100);
    let mut world = world(1, Faults::NONE, 3, &plan, &kinds, &config, Life::EASY);
    world.run_until(Instant::from_millis(10_050));
    // Its node is cut off and taken for dead; it starts elsewhere, from a checkpoint of long ago.
    plan.hosts.insert(SOURCE, (3, 2));
    let record = world.machine(address(1)).quiesce(Instant::from_millis(10_050), SOURCE, 3);
    world.machine(address(1)).resume(SOURCE);
    let origin: ToOrigin = Origin::Recovered;
    let now = world.now;
    let record = record.unwrap();
    world.machine(address(3)).start(now, &plan, SOURCE, kinds[&SOURCE], Some((&record, origin)));
    world.machine(address(2)).rewire(&plan);
    world.run_to_rest(Instant::from_secs(4_000));
    // Machine 3's numbers are larger than machine 1's, so one of machine 1's would not be in order.
    check(&world, 3, 2, 1);
    let from = |machine: u8| {
        let had = had(&world, 2).into_iter();
        had.filter(|value| value >> 40 == u64::from(machine)).count()
    };
    assert!((90..=110).contains(&from(1)) && from(3) >= 190, "{} and {}", from(1), from(3));
    let sink = &world.machines[&address(2)].router;
    assert!(sink.stats().forbidden > 150, "{:?}", sink.stats());
    assert_eq!(sink.counters(InstanceId(SINK)).unwrap().dropped, 0, "a jump is not a loss");
}

#[test]
fn on_one_node_all_of_it_arrives_without_datagrams() {
    let plan = Plan::new(&[(SOURCE, 1), (SINK, 1)], &[Wire::latest(SOURCE, SINK)]);
    let config = Config::default();
    let mut world = world(1, Faults::NONE, 1, &plan, &kinds(2), &config, Life::EASY);
    world.run_until(BUSY + Duration::from_secs(1));
    assert!(published(&world, 1).len() > 10_000);
    assert_eq!(had(&world, 1), published(&world, 1));
    assert!(world.sent.is_empty());
}

#[test]
fn a_slow_consumer_gets_the_newest() {
    let plan = Plan::new(&[(SOURCE, 1), (SINK, 1)], &[Wire::latest(SOURCE, SINK)]);
    let config = Config { inbox_messages: 4, ..Config::default() };
    let life = Life { handler: Duration::from_millis(50), ..Life::EASY };
    let mut world = world(3, Faults::NONE, 1, &plan, &kinds(2), &config, life);
    // The source is as slow as the sink, but has nothing else to wait for.
    world.run_until(BUSY + Duration::from_secs(1));
    check(&world, 1, 1, 3);
    let counters = world.machines[&address(1)].router.counters(InstanceId(SINK)).unwrap();
    let lost = published(&world, 1).len() - had(&world, 1).len();
    assert_eq!(lost, counters.dropped as usize);
    assert_eq!(counters.inbox, 0);
}

#[test]
fn an_instance_with_both_kinds_of_wires_keeps_its_numbers_whole() {
    for seed in seeds() {
        // The relay's output goes on both kinds of wires: its latest messages wait for commits too.
        let wires = [Wire::every(SOURCE, SINK), Wire::latest(SOURCE, 3)];
        let plan = Plan::new(&[(SOURCE, 1), (SINK, 2), (3, 2)], &wires);
        assert_eq!(plan.wires[1].delivery, Delivery::Latest);
        let config = Config::default();
        let mut kinds = kinds(70);
        kinds.insert(3, Kind::Sink);
        let mut world = world(seed, BAD, 2, &plan, &kinds, &config, Life::ROUGH);
        let mut dice = Dice::new(seed);
        let mut boot = 1;
        while world.now < Instant::from_secs(25) {
            let later = world.now + Duration::from_millis(dice.within(100..5_000));
            world.run_until(later);
            boot += 1;
            let (flash, dice) = world.machines.remove(&address(1)).unwrap().crash();
            let mut site = Site::new(1, config.clone(), Life::ROUGH, boot, dice);
            site.flash = flash;
            site.restart(world.now, &plan, &kinds);
            world.machines.insert(address(1), site);
        }
        world.faults = Faults::NONE;
        world.run_to_rest(Instant::from_secs(4_000));
        let published = published(&world, 1);
        assert_eq!(had(&world, 2), published, "seed {seed}");
        let latest = &world.machines[&address(2)].running[&3].memory.had;
        // What never was committed was never seen.
        assert!(latest.iter().all(|(_, value)| published.contains(value)), "seed {seed}");
        assert!(latest.is_sorted_by(|a, b| a.1 < b.1), "seed {seed}");
    }
}
