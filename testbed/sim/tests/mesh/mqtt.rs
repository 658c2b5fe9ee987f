//! A gateway that starts again goes on with the streams between mesh and broker where they were.

use super::{await_running, deploy, with_stack};
use capmesh_gateway::store::Table;
use capmesh_sim::scenario::{push_sum, sum};
use capmesh_sim::{Event, World, capsules};
use std::time::Duration;

/// Messages of the pipeline.
const COUNT: u32 = 300;

/// A pipeline whose sums go to MQTT on an `every` wire.
fn publishing(seed: u64) -> World {
    let mut world = World::new(seed, 3, &capsules::config());
    push_sum(&mut world, COUNT);
    (1..=3).for_each(|n| world.adopt(n));
    let bridge = "[bridge]\npublish = [{ from = \"adder.out\", delivery = \"every\" }]";
    deploy(&mut world, &format!("{}\n{bridge}\n", sum("", "", "")));
    world.history = Some(Vec::new());
    await_running(&mut world);
    world
}

/// The numbers of the messages that the broker was given.
fn given(world: &World) -> Vec<u64> {
    let history = world.history.iter().flatten();
    let given = history.filter_map(|(_, event)| match event {
        Event::Mqtt { topic, payload, durable: true, .. } if topic.ends_with("/out") => {
            let text = std::str::from_utf8(payload).unwrap();
            let rest = text.split_once("\"seq\":").unwrap().1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        }
        _ => None,
    });
    given.collect()
}

#[test]
fn a_gateway_that_starts_again_gives_the_broker_everything_once_and_in_order() {
    with_stack(|| {
        let mut world = publishing(1);
        let cursors = |world: &World| {
            world.gate.durable.keys().filter(|key| key.table == Table::Cursors).count()
        };
        world.downtime = Duration::from_millis(300);
        for _ in 0..5 {
            world.run_for(Duration::from_millis(700));
            assert_eq!(cursors(&world), 1);
            world.kill_gateway();
            world.run_for(Duration::from_secs(1));
            assert_eq!(cursors(&world), 1);
        }
        world.run_for(Duration::from_secs(120));
        let sums: Vec<u64> = (0..u64::from(COUNT)).collect();
        assert_eq!(given(&world), sums);
    });
}
