//! Instances move between nodes.

use crate::world::World;
use crate::world::capsules::{self, End, RowOf};
use crate::world::site::{expected, last, migrate, pipeline, plan};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::Delivery;
use std::time::Duration;

#[test]
fn ten_thousand_messages_with_three_moves_give_what_they_give_without() {
    let count = 10_000;
    let mut world = World::new(3, 3, &capsules::config());
    let (capsules, mut rows) = pipeline(count, 1_000, Delivery::Every);
    for n in [1, 2, 3] {
        for (id, capsule) in (1..).zip(&capsules) {
            world.machine(n).preload(id, capsule);
        }
    }
    world.boot_all();
    plan(&mut world, 1, &[(1, &rows[0]), (2, &rows[1]), (1, &rows[2])]);
    for (epoch, from, to) in [(2, 2, 3), (3, 3, 2), (4, 2, 3)] {
        world.run_for(Duration::from_secs(2));
        rows[0] = RowOf::new(1, 1, &capsules[0], None, Some(End(to, 2)), Delivery::Every);
        rows[1] =
            RowOf::new(2, epoch, &capsules[1], Some(End(1, 1)), Some(End(1, 3)), Delivery::Every);
        rows[2] = RowOf::new(3, 1, &capsules[2], Some(End(to, 2)), None, Delivery::Every);
        let all = [(1, &rows[0]), (to, &rows[1]), (1, &rows[2])];
        migrate(&mut world, &rows[1], epoch, from, to, &all);
    }
    world.run_until(600, |world| last(world, 1, 0) >= f64::from(count));
    world.run_for(Duration::from_secs(3));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), expected(count));
    assert_eq!(world.status(3, 2).expect("it is there").state, InstanceState::Running);
}
