//! Streams in both directions.

use crate::world::{
    Disk, GATE, Gate, Node, Party, address, feed, gate, mesh, node_at, restart, taps, values,
};
use capmesh_coap::test_util::{Dice, Faults};
use capmesh_gateway::bridge::{FEED, Notice, OUTBOX};
use capmesh_gateway::{Publication, Table};
use capmesh_wire::plan::Delivery::{Every, Latest};
use capmesh_wire::{Epoch, ErrorCode, Instant};
use std::time::Duration;

fn rough() -> Faults {
    Faults { loss: 10, duplication: 10, delay: Duration::from_millis(1)..Duration::from_millis(60) }
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

/// Runs until the nodes have nothing left to send and nothing is on its way.
fn settle(world: &mut crate::world::Mesh, machines: &[u8]) {
    for second in 1..2_000 {
        world.run_until(at(second));
        let is_done = machines.iter().all(|machine| {
            let node = node_at(world, *machine);
            node.acked >= node.count
        });
        if is_done {
            return;
        }
    }
    panic!("it does not come to an end");
}

#[test]
fn every_message_reaches_the_outbox_once_and_in_order_whatever_crashes() {
    for seed in 0..8 {
        let machines = [2, 3];
        let nodes = machines.map(|machine| {
            Node::new(machine, Every, 300, Dice::new(seed << 8 | u64::from(machine)))
        });
        let mut world = mesh(seed, rough(), nodes.into());
        gate(&mut world).set_wires(at(0), taps(&machines, Every), vec![]);
        for crash in 1..20 {
            world.run_until(Instant::from_millis(crash * 700));
            restart(&mut world, true, taps(&machines, Every), vec![]);
        }
        settle(&mut world, &machines);
        let outbox = gate(&mut world).disk.outbox.clone();
        for machine in machines {
            assert!(values(&outbox, machine).into_iter().eq(0..300), "seed {seed}");
        }
        assert!(outbox.iter().all(|publication| publication.qos == 1 && !publication.retain));
    }
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let mut world = mesh(1, Faults::NONE, vec![Node::new(2, Every, 50, Dice::new(1))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Every), vec![]);
    for step in 1..3_000 {
        world.run_until(Instant::from_millis(step));
        let durable = values(&gate(&mut world).disk.outbox, 2).len();
        assert!(node_at(&mut world, 2).acked <= durable as u64);
    }
    assert_eq!(node_at(&mut world, 2).acked, 50);
}

#[test]
fn however_many_share_a_commit_each_is_told_at_once() {
    let machines: Vec<u8> = (2..42).collect();
    let nodes = machines.iter().map(|m| Node::new(*m, Every, 20, Dice::new(u64::from(*m))));
    let mut world = mesh(9, Faults::NONE, nodes.collect());
    gate(&mut world).set_wires(at(0), taps(&machines, Every), vec![]);
    settle(&mut world, &machines);
    assert_eq!(gate(&mut world).dropped_replies(), 0);
}

#[test]
fn a_gateway_that_lost_its_state_goes_on_where_the_node_is() {
    let mut world = mesh(2, Faults::NONE, vec![Node::new(2, Every, 40, Dice::new(2))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Every), vec![]);
    settle(&mut world, &[2]);
    restart(&mut world, false, taps(&[2], Every), vec![]);
    node_at(&mut world, 2).count = 80;
    settle(&mut world, &[2]);
    assert!(values(&gate(&mut world).disk.outbox, 2).into_iter().eq(0..80));
}

#[test]
fn producers_hold_while_the_outbox_is_full() {
    let mut world = mesh(3, Faults::NONE, vec![Node::new(2, Every, 40, Dice::new(3))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Every), vec![]);
    gate(&mut world).bridge.outbox(OUTBOX, true);
    world.run_until(at(10));
    let node = node_at(&mut world, 2);
    assert_eq!((node.acked, node.refusals.first()), (0, Some(&ErrorCode::InboxFull)));
    let counters = gate(&mut world).bridge.counters();
    assert!(counters.held_off > 10 && gate(&mut world).disk.outbox.is_empty());
    gate(&mut world).bridge.outbox(0, true);
    settle(&mut world, &[2]);
    assert!(values(&gate(&mut world).disk.outbox, 2).into_iter().eq(0..40));
}

#[test]
fn a_full_outbox_is_full_at_its_bound_without_the_shell_saying_so() {
    let mut world = mesh(4, Faults::NONE, vec![Node::new(2, Every, 40, Dice::new(4))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Every), vec![]);
    gate(&mut world).bridge.outbox(OUTBOX - 10, true);
    world.run_until(at(10));
    let acked = node_at(&mut world, 2).acked;
    // A batch that has begun before the bound is taken whole.
    assert!((10..10 + 23).contains(&acked), "{acked}");
}

#[test]
fn the_newest_of_latest_is_published_and_what_it_replaces_is_counted() {
    let mut world = mesh(5, Faults::NONE, vec![Node::new(2, Latest, 1_000, Dice::new(5))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Latest), vec![]);
    world.run_until(at(1));
    gate(&mut world).bridge.outbox(0, false);
    world.run_until(at(2));
    let waiting = gate(&mut world).bridge.counters();
    gate(&mut world).bridge.outbox(0, true);
    settle(&mut world, &[2]);
    world.run_until(world.now + Duration::from_secs(1));
    let published: Vec<Publication> = gate(&mut world)
        .notices
        .drain(..)
        .filter_map(|notice| match notice {
            Notice::Publish(publication) => Some(publication),
            _ => None,
        })
        .collect();
    let values = values(&published, 2);
    assert!(values.is_sorted_by(|a, b| a < b) && values.last() == Some(&999));
    let counters = gate(&mut world).bridge.counters();
    assert!(waiting.superseded > 10, "{waiting:?}");
    let topic = &gate(&mut world).bridge.topics()[0];
    assert_eq!(topic.last.as_ref().map(|last| last.seq), Some(999));
    assert_eq!(counters.published + counters.superseded, topic.messages);
    // What came before the first of all is not missed.
    assert!((993..=1_000).contains(&(topic.messages + topic.lost)), "{topic:?}");
    assert!(gate(&mut world).disk.outbox.is_empty());
}

#[test]
fn without_a_broker_latest_is_dropped_and_counted() {
    let mut world = mesh(6, Faults::NONE, vec![Node::new(2, Latest, 20, Dice::new(6))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Latest), vec![]);
    gate(&mut world).bridge.mqtt_up(at(0), false);
    settle(&mut world, &[2]);
    world.run_until(at(5));
    let messages = gate(&mut world).bridge.topics()[0].messages;
    assert!(messages > 0);
    assert_eq!(gate(&mut world).bridge.counters().superseded, messages);
    assert!(gate(&mut world).notices.is_empty());
}

#[test]
fn batches_that_no_wire_brings_are_refused() {
    let nodes = vec![Node::new(2, Every, 5, Dice::new(7)), Node::new(3, Every, 5, Dice::new(8))];
    let mut world = mesh(7, Faults::NONE, nodes);
    // Of machine 2 messages are wanted, but as `latest`; of machine 3 none.
    gate(&mut world).set_wires(at(0), taps(&[2], Latest), vec![]);
    world.run_until(at(5));
    assert_eq!(node_at(&mut world, 2).refusals[0], ErrorCode::Forbidden);
    assert_eq!(node_at(&mut world, 3).refusals[0], ErrorCode::UnknownStream);
    assert_eq!(gate(&mut world).bridge.counters().published, 0);
}

#[test]
fn what_is_known_of_a_stream_goes_with_its_wire() {
    let mut world = mesh(8, Faults::NONE, vec![Node::new(2, Every, 20, Dice::new(9))]);
    gate(&mut world).set_wires(at(0), taps(&[2], Every), vec![]);
    settle(&mut world, &[2]);
    let cursors = |disk: &Disk| disk.state.keys().filter(|key| key.table == Table::Cursors).count();
    assert_eq!(cursors(&gate(&mut world).disk), 1);
    let now = world.now;
    gate(&mut world).set_wires(now, vec![], vec![]);
    world.run_until(now + Duration::from_secs(1));
    assert_eq!(cursors(&gate(&mut world).disk), 0);
}

/// Publishes `values` to the feed, a few each time, and lets the world go on between.
fn feed_values(world: &mut crate::world::Mesh, values: std::ops::Range<u64>) {
    for value in values {
        let now = world.now;
        // Either form of a message for a schema with one field.
        let text = if value % 2 == 0 { format!("{{\"n\":{value}}}") } else { value.to_string() };
        gate(world).mqtt(now, "city/threshold", &text);
        world.run_until(now + Duration::from_millis(30));
    }
}

#[test]
fn every_message_from_the_broker_reaches_every_consumer_once_and_in_order() {
    for seed in 0..6 {
        let machines = [2, 3];
        let nodes = machines.map(|machine| {
            let dice = Dice::new(seed << 8 | u64::from(machine));
            let mut node = Node::new(machine, Every, 0, dice);
            node.refuses = 20;
            node
        });
        let mut world = mesh(seed, rough(), nodes.into());
        gate(&mut world).set_wires(at(0), vec![], feed(&machines, Every));
        let mut from = 0;
        for to in [20, 40, 60, 80] {
            feed_values(&mut world, from..to);
            // What the disk has is acknowledged to the broker: no crash before that.
            let now = world.now;
            world.run_until(now + Duration::from_millis(60));
            restart(&mut world, true, vec![], feed(&machines, Every));
            from = to;
        }
        world.run_until(at(120));
        for machine in machines {
            let had = &node_at(&mut world, machine).had;
            assert!(had.iter().copied().eq(0..80), "seed {seed}: {had:?}");
        }
        let streams = gate(&mut world).disk.state.keys().filter(|key| key.table == Table::Streams);
        assert_eq!(streams.count(), 1, "what every consumer has is forgotten");
    }
}

#[test]
fn a_feed_whose_numbers_were_lost_goes_on_with_another_epoch() {
    let mut world = mesh(9, Faults::NONE, vec![Node::new(2, Every, 0, Dice::new(10))]);
    gate(&mut world).set_wires(at(0), vec![], feed(&[2], Every));
    feed_values(&mut world, 0..10);
    world.run_until(at(2));
    restart(&mut world, false, vec![], feed(&[2], Every));
    feed_values(&mut world, 10..20);
    world.run_until(at(60));
    let node = node_at(&mut world, 2);
    assert!(node.had.iter().copied().eq(0..20), "{:?}", node.had);
    assert!(node.cursor.0 > Epoch(1), "{:?}", node.cursor);
}

#[test]
fn a_feed_takes_so_many_messages_and_no_more() {
    let mut world = mesh(10, Faults::NONE, vec![Node::new(2, Every, 0, Dice::new(11))]);
    // The node is away.
    let Some(away) = world.machines.remove(&address(2)) else { panic!("no node") };
    gate(&mut world).set_wires(at(0), vec![], feed(&[2], Every));
    let most = u64::try_from(FEED).unwrap();
    feed_values(&mut world, 0..most + 20);
    let counters = gate(&mut world).bridge.counters();
    assert_eq!((counters.taken, counters.refused), (most, 20));
    world.machines.insert(address(2), away);
    world.run_until(world.now + Duration::from_secs(300));
    assert!(node_at(&mut world, 2).had.iter().copied().eq(0..most));
}

#[test]
fn a_latest_feed_sends_the_newest_and_its_numbers_rise_over_a_restart() {
    let mut world = mesh(11, Faults::NONE, vec![Node::new(2, Latest, 0, Dice::new(12))]);
    gate(&mut world).set_wires(at(0), vec![], feed(&[2], Latest));
    feed_values(&mut world, 0..10);
    restart(&mut world, true, vec![], feed(&[2], Latest));
    feed_values(&mut world, 10..20);
    world.run_until(world.now + Duration::from_secs(1));
    let had = &node_at(&mut world, 2).had;
    assert!(had.is_sorted_by(|a, b| a < b) && had.last() == Some(&19), "{had:?}");
    assert!(had.len() > 10);
}

#[test]
fn what_does_not_fit_the_schema_is_refused_and_counted() {
    let mut world = mesh(12, Faults::NONE, vec![Node::new(2, Every, 0, Dice::new(13))]);
    gate(&mut world).set_wires(at(0), vec![], feed(&[2], Every));
    for bad in ["", "x", "-1", "{\"m\":1}", "{\"n\":\"1\"}", "null"] {
        gate(&mut world).mqtt(at(0), "city/threshold", bad);
    }
    gate(&mut world).mqtt(at(0), "city/other", "1");
    gate(&mut world).mqtt(at(0), "capmesh/s1/node/n2/test--c/in/set", "7");
    world.run_until(at(5));
    assert_eq!(gate(&mut world).bridge.counters().refused, 6);
    assert_eq!(node_at(&mut world, 2).had, [7]);
}

#[test]
fn a_gateway_is_made_of_whatever_was_on_disk() {
    let mut disk = Disk::default();
    for table in [Table::Cursors, Table::Streams] {
        for len in 0..20 {
            let key = capmesh_gateway::Key::new(table, vec![len; usize::from(len)]);
            disk.state.insert(key, vec![len; usize::from(len / 2)]);
        }
    }
    let mut world = mesh(13, Faults::NONE, vec![]);
    let mut other = Gate::new(at(0), disk, Dice::new(1), true);
    other.set_wires(at(0), taps(&[2], Every), feed(&[2], Every));
    world.machines.insert(address(GATE), Party::Gate(Box::new(other)));
    world.run_until(at(5));
}
