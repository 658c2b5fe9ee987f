//! How long a capsule waits for its turn beside seven that mean harm.

use crate::world::World;
use crate::world::capsules::{self, Packed, RowOf};
use crate::world::site::start;
use capmesh_coap::test_util::Dice;
use capmesh_node::Input;
use capmesh_wire::List;
use capmesh_wire::Name;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::manifest::Capsule;
use capmesh_wire::plan::Delivery;
use std::time::Duration;

/// What makes a handler long, each in its own way.
fn hostile() -> [Packed; 7] {
    let add = "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))";
    // As many instructions without a loop as there may be, again and again.
    let stretch = format!("(loop $forever {} (br $forever))", add.repeat(330));
    let flood = "(loop $forever
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))
        (call $log (i32.const 2) (i32.const 0) (i32.const 64)) (br $forever))";
    // It ends in time, and sets its timer to now.
    let busy = "(drop (call $set_timer (i32.const 0) (i64.const 0)))
        (i32.store (i32.const 64) (i32.const 0)) (loop $again
        (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (br_if $again (i32.lt_u (i32.load (i32.const 64)) (i32.const 5000))))";
    [
        "(loop $forever (br $forever))",
        &stretch,
        flood,
        busy,
        "(loop $forever (memory.fill (i32.const 0) (i32.const 1) (i32.const 256)) (br $forever))",
        "(call $deep)",
        "(loop $forever (drop (memory.grow (i32.const 0))) (br $forever))",
    ]
    .map(capsules::hostile)
}

/// Hears of a button.
fn neighbour() -> Packed {
    let text = r#"(module
        (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
        (memory (export "memory") 64 64 (pagesize 1))
        (func (export "event") (param $source i32) (param $value f64)
            (drop (call $actuate (i32.const 0) (local.get $value)))))"#;
    let listening = |capsule: Capsule<'static>| {
        let button = vec![Name::new("button").expect("a name")].leak();
        Capsule { sources: List::new(button).expect("one"), ..capsule }
    };
    capsules::pack_with("neighbour", text, &[], &[], &["count"], listening)
}

/// Time goes by as fuel is used, and the button is pressed in the middle of anything. What passes
/// until the neighbour's handler begins is at most 10 ms of the node's fuel.
#[test]
fn a_handler_begins_within_ten_milliseconds_beside_seven_hostile_ones() {
    let mut config = capsules::config();
    config.restart.attempts = u8::MAX;
    config.restart.min = Duration::from_millis(100);
    config.restart.max = Duration::from_millis(100);
    let budget = config.budget;
    assert_eq!(budget.instances, 8);
    let mut world = World::new(1, 1, &config);
    for (id, capsule) in (1..).zip(hostile().iter().chain([&neighbour()])) {
        world.machine(1).preload(id, capsule);
    }
    world.boot_all();
    for (id, capsule) in (1..).zip(hostile().iter().chain([&neighbour()])) {
        let row = RowOf::new(id, 1, capsule, None, None, Delivery::Latest);
        world.retry(1, &start(&row));
    }
    world.wait(1, 8, InstanceState::Running);
    let most = u64::from(budget.fuel_per_second / 100);
    let (mut dice, mut buf) = (Dice::new(1), vec![0; 2_048]);
    let (mut worst, mut count, mut ready) = (0, 0, None);
    let until = world.now + Duration::from_secs(30);
    while world.now < until {
        let before = world.machine(1).record.seen();
        if ready.is_none() && dice.within(0..40) == 0 {
            // It comes when the last slice has just begun.
            ready = Some((before.heard, before.fuel - before.slice));
            world.input(1, Input::Digital { source: 0, value: 1.0 });
        }
        if !world.turn(0, &mut buf) {
            let next = world.now + Duration::from_millis(1);
            world.step(next);
        }
        let after = world.machine(1).record.seen();
        let micros = (after.fuel - before.fuel) * 1_000_000 / u64::from(budget.fuel_per_second);
        world.now += Duration::from_micros(micros);
        if let Some((heard, since)) = ready
            && after.heard > heard
        {
            worst = worst.max(after.heard_at - since);
            count += 1;
            ready = None;
        }
    }
    println!("{count} times, at worst {worst} of {most}");
    assert!(count > 500, "{count}");
    assert!(worst <= most, "{worst} of fuel passed, {most} are 10 ms");
}
