//! Capsules that do wrong, beside one that does not.

use crate::world::World;
use crate::world::capsules::{self, RowOf};
use crate::world::site::{start, target};
use capmesh_wire::control::Command;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::manifest::Capsule;
use capmesh_wire::plan::Delivery;
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{ErrorCode, List, Name, Schema, Unit};
use std::time::Duration;

#[test]
fn a_neighbour_of_a_hostile_capsule_notices_nothing() {
    let hostile = [
        ("(loop $forever (br $forever))", ErrorCode::OutOfFuel),
        ("unreachable", ErrorCode::Trapped),
        ("(call $deep)", ErrorCode::Trapped),
        ("(drop (i64.load (i32.const 1000)))", ErrorCode::Trapped),
        ("(drop (call $publish (i32.const 0) (i32.const 300) (i32.const 8)))", ErrorCode::Trapped),
    ];
    for (what, code) in hostile {
        let mut config = capsules::config();
        config.restart.attempts = 3;
        config.restart.min = Duration::from_millis(100);
        let mut world = World::new(1, 1, &config);
        let (bad, good) = (capsules::hostile(what), capsules::source(1_000_000, 10_000));
        world.machine(1).preload(1, &bad);
        world.machine(1).preload(2, &good);
        world.boot_all();
        let row = RowOf::new(2, 1, &good, None, None, Delivery::Latest);
        world.retry(1, &start(&row));
        let bad = RowOf::new(1, 1, &bad, None, None, Delivery::Latest);
        world.retry(1, &start(&bad));
        world.run_for(Duration::from_secs(10));
        let status = world.status(1, 1).expect("known");
        assert_eq!((status.state, status.reason), (InstanceState::Failed, Some(code)), "{what}");
        assert_eq!(status.restarts, 3, "{what}");
        let good = world.status(1, 2).expect("known");
        assert_eq!((good.state, good.restarts), (InstanceState::Running, 0), "{what}");
        assert!((950..=1_100).contains(&good.published), "{what}: {good:?}");
        // Somebody who has mended something starts it again.
        world.retry(1, &start(&bad));
        world.retry(1, &Command::Stop(target(1, 1)));
    }
}

#[test]
fn what_has_failed_is_tried_again_after_a_start_of_the_node() {
    let mut config = capsules::config();
    config.restart.attempts = 2;
    config.restart.min = Duration::from_millis(100);
    let mut world = World::new(1, 1, &config);
    let bad = capsules::hostile("unreachable");
    world.machine(1).preload(1, &bad);
    world.boot_all();
    world.retry(1, &start(&RowOf::new(1, 1, &bad, None, None, Delivery::Latest)));
    for _ in 0..2 {
        world.run_for(Duration::from_secs(5));
        let status = world.status(1, 1).expect("known");
        assert_eq!((status.state, status.restarts), (InstanceState::Failed, 2));
        world.crash(1);
        world.boot(1);
    }
}

#[test]
fn a_flood_of_host_calls_is_bounded_and_counted() {
    let flood = "(i32.store (i32.const 64) (i32.const 0)) (loop $again
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (call $log (i32.const 2) (i32.const 0) (i32.const 8))
        (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (br_if $again (i32.lt_u (i32.load (i32.const 64)) (i32.const 1000))))";
    let mut world = World::new(1, 1, &capsules::config());
    let (bad, good) = (capsules::hostile(flood), capsules::source(1_000_000, 10_000));
    world.machine(1).preload(1, &bad);
    world.machine(1).preload(2, &good);
    world.boot_all();
    for row in [
        RowOf::new(1, 1, &bad, None, None, Delivery::Latest),
        RowOf::new(2, 1, &good, None, None, Delivery::Latest),
    ] {
        world.retry(1, &start(&row));
    }
    world.run_for(Duration::from_secs(10));
    let [bad, good] = [1, 2].map(|id| world.status(1, id).expect("known"));
    assert_eq!(bad.state, InstanceState::Running);
    assert!(world.log(1).contains("lines before this one were dropped"), "{}", world.log(1));
    // It has 50,000 of fuel a second, and the rest of the node's 2,000,000 while nobody wants it.
    assert!(bad.fuel_per_second <= 2_100_000, "{bad:?}");
    assert!((950..=1_100).contains(&good.published), "{good:?}");
}

/// A record of the right length may still hold what no value of its schema is.
#[test]
fn what_a_capsule_says_outside_its_schema_is_dropped_and_counted() {
    let text = r#"(module
        (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
        (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
        (memory (export "memory") 64 64 (pagesize 1))
        (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const 10000))))
        (func (export "timer") (param i32)
            (drop (call $set_timer (i32.const 0) (i64.const 10000)))
            (i32.store8 (i32.const 0) (i32.const 1))
            (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 1)))
            (i32.store8 (i32.const 0) (i32.const 7))
            (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 1)))))"#;
    let saying_yes_or_no = |capsule: Capsule<'static>| {
        let name = |name| Name::new(name).expect("a name");
        let on = Field { name: name("on"), ty: FieldType::Bool, unit: Unit::None, optional: false };
        let fields = List::new(vec![on].leak()).expect("one");
        let schema = Schema::new(name("switch"), 1, fields).expect("a schema");
        Capsule { schemas: List::new(vec![schema].leak()).expect("one"), ..capsule }
    };
    let bad = capsules::pack_with("untrue", text, &[], &["out"], &[], saying_yes_or_no);
    let mut world = World::new(1, 1, &capsules::config());
    world.machine(1).preload(1, &bad);
    world.boot_all();
    world.retry(1, &start(&RowOf::new(1, 1, &bad, None, None, Delivery::Latest)));
    world.run_for(Duration::from_secs(5));
    let status = world.status(1, 1).expect("known");
    assert_eq!((status.state, status.restarts), (InstanceState::Running, 0));
    assert!((450..=550).contains(&status.published), "{status:?}");
    assert_eq!(u64::from(status.dropped), status.published, "{status:?}");
}

#[test]
fn a_full_node_says_so() {
    let mut config = capsules::config();
    config.budget.instances = 2;
    let mut world = World::new(1, 1, &config);
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    for instance in [1, 2] {
        let row = RowOf::new(instance, 1, &source, None, None, Delivery::Latest);
        world.retry(1, &start(&row));
    }
    let third = RowOf::new(3, 1, &source, None, None, Delivery::Latest);
    assert_eq!(world.command(1, &start(&third)).problem(), Some(ErrorCode::Full));
    world.retry(1, &Command::Stop(target(1, 1)));
    world.retry(1, &start(&third));
    world.wait(1, 3, InstanceState::Running);
}

#[test]
fn what_there_is_no_ram_for_does_not_run() {
    let mut config = capsules::config();
    config.budget.ram = 20 << 10;
    let mut world = World::new(1, 1, &config);
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    for instance in [1, 2] {
        let row = RowOf::new(instance, 1, &source, None, None, Delivery::Latest);
        world.retry(1, &start(&row));
    }
    let third = RowOf::new(3, 1, &source, None, None, Delivery::Latest);
    assert_eq!(world.command(1, &start(&third)).problem(), Some(ErrorCode::NoRam));
    assert_eq!(world.status(1, 1).expect("known").state, InstanceState::Running);
}
