//! A capsule gives way to another version of itself.

use crate::world::capsules::{self, End, Packed, RowOf, pack_with};
use crate::world::site::{expected, last, pipeline, plan};
use crate::world::{World, seeds};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::manifest::StateLayout;
use capmesh_wire::plan::Delivery;
use capmesh_wire::{Epoch, Tag};
use std::time::Duration;

/// The adder again, with more in it than before and another layout of its state, if so.
fn newer_adder(layout: Option<StateLayout>) -> Packed {
    let text = r#"(module
        (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
        (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
        (memory (export "memory") 512 512 (pagesize 1))
        (data (i32.const 300) "what is new")
        (func (export "message") (param i32 i32)
            (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
            (i64.store (i32.const 0) (i64.add (i64.load (i32.const 8)) (i64.load (i32.const 0))))
            (i64.store (i32.const 256) (i64.add (i64.load (i32.const 256)) (i64.const 1)))
            (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#;
    pack_with("adder", text, &["in"], &["out"], &[], |capsule| {
        let version = Tag::new("2").expect("a tag");
        capmesh_wire::manifest::Capsule { version, state: layout, ..capsule }
    })
}

/// Runs the pipeline with another adder from the middle on, over crashes of its node if so. What the
/// sink's actuators end at, and the adder's log.
fn updated(seed: u64, layout: Option<StateLayout>, crashes: bool) -> ((f64, f64), String) {
    let count = 300;
    let mut world = World::new(seed, 2, &capsules::config());
    let (capsules, mut rows) = pipeline(count, 5_000, Delivery::Every);
    let newer = newer_adder(layout);
    for n in [1, 2] {
        for (id, capsule) in (1..).zip(capsules.iter().chain([&newer])) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    let rest = 400 + world.dice.within(0..400);
    world.run_for(Duration::from_millis(rest));
    rows[1] = RowOf::new(2, 2, &newer, Some(End(1, 1)), Some(End(1, 3)), Delivery::Every);
    world.chaos = if crashes { 50 } else { 0 };
    plan(&mut world, 2, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    world.chaos = 0;
    assert_eq!(world.wait(2, 2, InstanceState::Running).epoch, Epoch(2));
    let log = world.log(2);
    world.run_until(900, |world| last(world, 1, 0) >= f64::from(count));
    world.run_for(Duration::from_secs(5));
    ((last(&mut world, 1, 0), last(&mut world, 1, 1)), log)
}

#[test]
fn a_newer_version_goes_on_where_the_older_one_was() {
    let layout = Some(StateLayout { version: 3, oldest: 1 });
    let (seen, log) = updated(1, layout, false);
    assert!(log.contains("takes the state of capsule"), "{log}");
    assert_eq!(seen, expected(300));
}

#[test]
fn so_it_does_when_its_node_falls_over_meanwhile() {
    for seed in seeds(6) {
        let layout = Some(StateLayout { version: 1, oldest: 1 });
        assert_eq!(updated(seed, layout, true).0, expected(300), "seed {seed}");
    }
}

/// The power may go when the plan with the newer version is in flash and nothing else is.
#[test]
fn so_it_does_whenever_its_node_loses_its_power() {
    for halves in 0..40 {
        let mut world = World::new(1, 1, &capsules::config());
        let (capsules, _) = pipeline(300, 5_000, Delivery::Every);
        let row = |n, epoch, capsule, from: Option<u32>, to: Option<u32>| {
            let end = |instance| End(1, instance);
            RowOf::new(n, epoch, capsule, from.map(end), to.map(end), Delivery::Every)
        };
        let (source, sink) =
            (row(1, 1, &capsules[0], None, Some(2)), row(3, 1, &capsules[2], Some(2), None));
        let older = row(2, 1, &capsules[1], Some(1), Some(3));
        let newer = newer_adder(Some(StateLayout { version: 1, oldest: 1 }));
        for (id, capsule) in (1..).zip(capsules.iter().chain([&newer])) {
            world.machine(1).preload(id, capsule);
        }
        world.boot_all();
        plan(&mut world, 1, &[(1, &source), (1, &older), (1, &sink)]);
        world.run_for(Duration::from_millis(500));
        let newer = row(2, 2, &newer, Some(1), Some(3));
        world.power_cut = Some(Duration::from_micros(halves * 500));
        plan(&mut world, 2, &[(1, &source), (1, &newer), (1, &sink)]);
        assert_eq!(world.wait(1, 2, InstanceState::Running).epoch, Epoch(2));
        world.run_until(900, |world| last(world, 1, 0) >= 300.0);
        world.run_for(Duration::from_secs(5));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, expected(300), "{halves}");
    }
}

#[test]
fn without_a_layout_that_fits_it_starts_afresh_and_says_so() {
    for layout in [None, Some(StateLayout { version: 2, oldest: 2 })] {
        let (seen, log) = updated(1, layout, false);
        assert!(log.contains("starts afresh"), "{log}");
        assert!(seen.0 >= 300.0 && seen != expected(300), "{seen:?}");
    }
}
