//! `every` wires: nothing lost, nothing twice, order kept.

use crate::world::{Kind, Life, Plan, Site, ToOrigin, Wire, address, seeds, world};
use capmesh_coap::test_util::{Dice, Faults, World};
use capmesh_node::router::{Config, Origin};
use capmesh_wire::plan::Overflowing;
use capmesh_wire::{InstanceId, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

const SOURCE: u32 = 1;
const RELAY: u32 = 2;
const SINK: u32 = 3;

const BAD: Faults = Faults {
    loss: 15,
    duplication: 10,
    delay: Duration::from_millis(1)..Duration::from_millis(80),
};

/// Sources go on until then.
const BUSY: Instant = Instant::from_secs(60);
/// By then everything has arrived.
const REST: Instant = Instant::from_secs(4_000);

fn kinds() -> BTreeMap<u32, Kind> {
    let every = Duration::from_millis(70);
    [(SOURCE, Kind::Source { every, until: BUSY }), (RELAY, Kind::Relay), (SINK, Kind::Sink)].into()
}

fn chain() -> [Wire; 2] {
    [Wire::every(SOURCE, RELAY), Wire::every(RELAY, SINK)]
}

fn running<'w>(world: &'w World<Site>, plan: &Plan, instance: u32) -> &'w crate::world::Running {
    &world.machines[&address(plan.hosts[&instance].0)].running[&instance]
}

/// Checks that what one has published the other has had, all of it, once, in order.
fn check(world: &World<Site>, plan: &Plan, from: u32, to: u32, seed: u64) {
    let published = &running(world, plan, from).memory.published;
    let had: Vec<u64> = running(world, plan, to).memory.had.iter().map(|(_, v)| *v).collect();
    let same = published.iter().zip(&had).take_while(|(a, b)| a == b).count();
    assert!(
        *published == had,
        "seed {seed}: {from} -> {to}: {} published, {} had, the same up to {same}: {:x?} {:x?}",
        published.len(),
        had.len(),
        published.get(same.saturating_sub(1)..(same + 3).min(published.len())),
        had.get(same.saturating_sub(1)..(same + 3).min(had.len())),
    );
    assert!(published.len() > 20, "seed {seed}: only {} messages", published.len());
}

/// Lets the last things arrive, over a good link and without crashes.
fn settle(world: &mut World<Site>) {
    world.faults = Faults::NONE;
    for site in world.machines.values_mut() {
        site.life.traps = 0;
    }
    world.run_until(BUSY);
    world.run_to_rest(REST);
}

fn crash(world: &mut World<Site>, machine: u8, boot: u32, plan: &Plan, config: &Config) {
    let site = world.machines.remove(&address(machine)).unwrap();
    let life = site.life;
    let (flash, dice) = site.crash();
    let mut site = Site::new(machine, config.clone(), life, boot, dice);
    site.flash = flash;
    site.restart(world.now, plan, &kinds());
    world.machines.insert(address(machine), site);
}

/// Where the three instances are.
fn places(dice: &mut Dice, machines: u8) -> [(u32, u8); 3] {
    let mut place = || u8::try_from(dice.within(1..u64::from(machines) + 1)).unwrap();
    [(SOURCE, place()), (RELAY, place()), (SINK, place())]
}

#[test]
fn over_a_good_link_everything_arrives_soon() {
    let plan = Plan::new(&[(SOURCE, 1), (RELAY, 2), (SINK, 1)], &chain());
    let config = Config::default();
    let mut world = world(1, Faults::NONE, 2, &plan, &kinds(), &config, Life::EASY);
    world.run_until(BUSY + Duration::from_secs(2));
    check(&world, &plan, SOURCE, RELAY, 1);
    check(&world, &plan, RELAY, SINK, 1);
    world.run_to_rest(REST);
}

#[test]
fn over_bad_links_wherever_the_instances_are() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&places(&mut dice, 3), &chain());
        let config = Config::default();
        let mut world = world(seed, BAD, 3, &plan, &kinds(), &config, Life::ROUGH);
        world.run_until(BUSY);
        settle(&mut world);
        check(&world, &plan, SOURCE, RELAY, seed);
        check(&world, &plan, RELAY, SINK, seed);
    }
}

/// A world over bad links in which one of the machines falls over after every few steps, until all has
/// been said.
fn crashed(seed: u64, plan: &Plan, machines: u8, steps: u64, dice: &mut Dice) -> World<Site> {
    let config = Config::default();
    let mut world = world(seed, BAD, machines, plan, &kinds(), &config, Life::ROUGH);
    let mut boot = 1;
    while world.now < BUSY {
        for _ in 0..dice.within(1..steps) {
            world.step();
        }
        boot += 1;
        let machine = u8::try_from(dice.within(1..u64::from(machines) + 1)).unwrap();
        crash(&mut world, machine, boot, plan, &config);
    }
    settle(&mut world);
    world
}

#[test]
fn across_crashes_at_any_step() {
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0xc4a5);
        let plan = Plan::new(&places(&mut dice, 3), &chain());
        let world = crashed(seed, &plan, 3, 600, &mut dice);
        check(&world, &plan, SOURCE, RELAY, seed);
        check(&world, &plan, RELAY, SINK, seed);
    }
}

/// Has the sink's machine fall over again and again while what it has taken is being written, so that the
/// source waits for answers that never come, and leaves it alone for so long then. The source publishes this
/// often; as `forgets` says, the machine loses what it had written before, too. What was published and had.
fn taken_in_vain(seed: u64, millis: u64, forgets: bool, wait: u64) -> (Vec<u64>, Vec<u64>) {
    let plan = Plan::new(&[(SOURCE, 1), (SINK, 2)], &[Wire::every(SOURCE, SINK)]);
    let config = Config::default();
    let source = Kind::Source { every: Duration::from_millis(millis), until: BUSY };
    let kinds = [(SOURCE, source), (SINK, Kind::Sink)].into();
    let mut world = world(seed, Faults::NONE, 2, &plan, &kinds, &config, Life::EASY);
    for boot in 2.. {
        let sink = world.machines.get_mut(&address(2)).unwrap();
        sink.life.write = Duration::from_secs(100);
        if forgets {
            sink.flash.records.clear();
        }
        world.run_until(world.now + Duration::from_millis(4_500));
        crash(&mut world, 2, boot, &plan, &config);
        world.machines.get_mut(&address(2)).unwrap().life = Life::EASY;
        world.run_until(world.now + Duration::from_secs(wait));
        if world.now > BUSY {
            break;
        }
    }
    let had = running(&world, &plan, SINK).memory.had.iter().map(|(_, value)| *value).collect();
    (running(&world, &plan, SOURCE).memory.published.clone(), had)
}

#[test]
fn what_was_taken_in_vain_comes_again_as_soon_as_another_batch_shows_it() {
    for seed in seeds() {
        let (published, had) = taken_in_vain(seed, 3_000, false, 8);
        assert!(published == had, "seed {seed}: {published:x?} {had:x?}");
        let (published, had) = taken_in_vain(seed, 3_000, true, 8);
        assert!(
            !had.is_empty() && published.ends_with(&had),
            "seed {seed}: {published:x?} {had:x?}"
        );
    }
}

#[test]
fn what_was_taken_in_vain_comes_again_when_its_answer_is_late() {
    for seed in seeds() {
        let (published, had) = taken_in_vain(seed, 70, false, 70);
        assert!(published == had, "seed {seed}: {published:x?} {had:x?}");
        let (published, had) = taken_in_vain(seed, 70, true, 70);
        assert!(
            !had.is_empty() && published.ends_with(&had),
            "seed {seed}: {published:x?} {had:x?}"
        );
    }
}

#[test]
fn on_one_node_across_crashes() {
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x10ca);
        let plan = Plan::new(&[(SOURCE, 1), (RELAY, 1), (SINK, 1)], &chain());
        let world = crashed(seed, &plan, 1, 120, &mut dice);
        check(&world, &plan, SOURCE, RELAY, seed);
        check(&world, &plan, RELAY, SINK, seed);
        assert!(world.sent.is_empty(), "nothing leaves the node");
    }
}

/// Moves an instance, as a gateway would: with other things going on between the steps. Half-way it
/// may be undone.
fn migrate(world: &mut World<Site>, plan: &mut Plan, instance: u32, to: u8, dice: &mut Dice) {
    let (from, epoch) = plan.hosts[&instance];
    let steps = |world: &mut World<Site>, dice: &mut Dice| {
        for _ in 0..dice.within(0..40) {
            world.step();
        }
    };
    let now = world.now;
    let Some(record) = world.machine(address(from)).quiesce(now, instance, to) else { return };
    steps(world, dice);
    if dice.percent(25) {
        return world.machine(address(from)).resume(instance);
    }
    plan.hosts.insert(instance, (to, epoch + 1));
    let now = world.now;
    let origin: ToOrigin = Origin::Moved;
    let target = world.machine(address(to));
    target.flash.records.insert(instance, record.clone());
    target.start(now, plan, instance, kinds()[&instance], Some((&record, origin)));
    // Nodes hear of the new plan one after the other.
    for machine in [1, 2, 3] {
        steps(world, dice);
        world.machine(address(machine)).rewire(plan);
    }
    steps(world, dice);
    let now = world.now;
    world.machine(address(from)).release(now, instance, to);
}

#[test]
fn across_migrations_of_anybody() {
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x319);
        let mut plan = Plan::new(&places(&mut dice, 3), &chain());
        let config = Config::default();
        let mut world = world(seed, BAD, 3, &plan, &kinds(), &config, Life::ROUGH);
        while world.now < BUSY {
            for _ in 0..dice.within(1..400) {
                world.step();
            }
            let instance = u32::try_from(dice.within(1..4)).unwrap();
            let to = u8::try_from(dice.within(1..4)).unwrap();
            if plan.hosts[&instance].0 != to {
                migrate(&mut world, &mut plan, instance, to, &mut dice);
            }
        }
        settle(&mut world);
        check(&world, &plan, SOURCE, RELAY, seed);
        check(&world, &plan, RELAY, SINK, seed);
    }
}

/// Its node is lost for ever, and an instance goes on elsewhere from its last commit: that covers all
/// that it has acknowledged and sent, so that nobody misses anything.
#[test]
fn across_the_loss_of_a_node() {
    for seed in seeds() {
        for instance in [SOURCE, RELAY, SINK] {
            let mut dice = Dice::new(seed ^ 0x1057);
            let mut plan = Plan::new(&[(SOURCE, 1), (RELAY, 1), (SINK, 1)], &chain());
            plan.hosts.insert(instance, (2, 1));
            let config = Config::default();
            let mut world = world(seed, BAD, 3, &plan, &kinds(), &config, Life::ROUGH);
            world.run_until(Instant::from_millis(5_000 + dice.within(0..20_000)));
            let lost = world.machines.remove(&address(2)).unwrap();
            let life = lost.life;
            let (flash, dice) = lost.crash();
            let record = flash.records[&instance].clone();
            // Somebody else is there now.
            let empty = Site::new(2, config.clone(), life, 2, dice);
            world.machines.insert(address(2), empty);
            plan.hosts.insert(instance, (3, 2));
            let (now, origin) = (world.now, Origin::Recovered as ToOrigin);
            let target = world.machine(address(3));
            target.flash.records.insert(instance, record.clone());
            target.start(now, &plan, instance, kinds()[&instance], Some((&record, origin)));
            world.machine(address(1)).rewire(&plan);
            settle(&mut world);
            check(&world, &plan, SOURCE, RELAY, seed);
            check(&world, &plan, RELAY, SINK, seed);
        }
    }
}

#[test]
fn across_migrations_and_crashes() {
    for seed in seeds() {
        let mut dice = Dice::new(seed ^ 0x77);
        let mut plan = Plan::new(&places(&mut dice, 3), &chain());
        let config = Config::default();
        let mut world = world(seed, BAD, 3, &plan, &kinds(), &config, Life::ROUGH);
        let mut boot = 1;
        while world.now < BUSY {
            for _ in 0..dice.within(1..400) {
                world.step();
            }
            let instance = u32::try_from(dice.within(1..4)).unwrap();
            let machine = u8::try_from(dice.within(1..4)).unwrap();
            if dice.percent(50) && plan.hosts[&instance].0 != machine {
                migrate(&mut world, &mut plan, instance, machine, &mut dice);
            } else {
                boot += 1;
                crash(&mut world, machine, boot, &plan, &config);
            }
        }
        settle(&mut world);
        check(&world, &plan, SOURCE, RELAY, seed);
        check(&world, &plan, RELAY, SINK, seed);
    }
}

#[test]
fn a_paused_producer_never_has_more_than_its_outbox() {
    for seed in seeds() {
        let plan = Plan::new(&[(SOURCE, 1), (SINK, 2)], &[Wire::every(SOURCE, SINK)]);
        let config = Config { outbox_messages: 6, inbox_messages: 4, ..Config::default() };
        let kinds: BTreeMap<_, _> = [
            (SOURCE, Kind::Source { every: Duration::from_millis(1), until: BUSY }),
            (SINK, Kind::Sink),
        ]
        .into();
        let mut world = world(seed, BAD, 2, &plan, &kinds, &config, Life::ROUGH);
        world.run_until(BUSY);
        settle(&mut world);
        check(&world, &plan, SOURCE, SINK, seed);
        let site = &world.machines[&address(1)];
        assert!(site.fullest <= 6, "seed {seed}: {} messages in the outbox", site.fullest);
        assert_eq!(site.router.counters(InstanceId(SOURCE)).unwrap().dropped, 0);
    }
}

#[test]
fn what_a_full_outbox_drops_is_counted_and_the_rest_arrives_in_order() {
    for overflow in [Overflowing::DropOldest, Overflowing::DropNewest] {
        for seed in seeds() {
            let wire = Wire { overflow, ..Wire::every(SOURCE, SINK) };
            let plan = Plan::new(&[(SOURCE, 1), (SINK, 2)], &[wire]);
            let config = Config { outbox_messages: 8, ..Config::default() };
            let kinds: BTreeMap<_, _> = [
                (SOURCE, Kind::Source { every: Duration::from_millis(3), until: BUSY }),
                (SINK, Kind::Sink),
            ]
            .into();
            let life = Life { traps: 0, ..Life::ROUGH };
            let mut world = world(seed, BAD, 2, &plan, &kinds, &config, life);
            world.run_until(BUSY);
            settle(&mut world);
            let published = &running(&world, &plan, SOURCE).memory.published;
            let had = &running(&world, &plan, SINK).memory.had;
            let values: Vec<u64> = had.iter().map(|(_, value)| *value).collect();
            assert!(values.is_sorted_by(|a, b| a < b), "seed {seed}: out of order");
            let source = world.machines[&address(1)].router.counters(InstanceId(SOURCE)).unwrap();
            let sink = world.machines[&address(2)].router.counters(InstanceId(SINK)).unwrap();
            assert!(source.dropped > 0, "seed {seed}: nothing was dropped");
            if overflow == Overflowing::DropOldest {
                // What the sender dropped may have arrived before; what the receiver missed has not.
                // What it missed before the first one it cannot know of.
                let before = published.iter().position(|value| *value == values[0]).unwrap();
                let missed = published.len() - before - values.len();
                assert_eq!(missed, sink.dropped as usize, "seed {seed}");
                assert_eq!(values.last(), published.last(), "seed {seed}: the newest is missing");
            } else {
                assert_eq!(*published, values, "seed {seed}");
                assert_eq!(sink.dropped, 0, "seed {seed}");
            }
        }
    }
}

#[test]
fn a_stream_reaches_several_consumers_and_several_inputs() {
    for seed in seeds() {
        let twice = Wire { input: 1, ..Wire::every(SOURCE, SINK) };
        let wires = [Wire::every(SOURCE, RELAY), Wire::every(SOURCE, SINK), twice];
        let mut dice = Dice::new(seed ^ 0xf0);
        let plan = Plan::new(&places(&mut dice, 3), &wires);
        let world = crashed(seed, &plan, 3, 600, &mut dice);
        check(&world, &plan, SOURCE, RELAY, seed);
        let published = &running(&world, &plan, SOURCE).memory.published;
        let expected: Vec<(u8, u64)> =
            published.iter().flat_map(|value| [(0, *value), (1, *value)]).collect();
        assert_eq!(running(&world, &plan, SINK).memory.had, expected, "seed {seed}");
    }
}
