//! A database that loses or invents, and random numbers that repeat.

use super::{finds, play, running};
use capmesh_gateway::bridge;
use capmesh_node::flash::nor::Tear;
use capmesh_sim::checkers::{Bounds, Delivery, Nonces};

#[test]
fn an_outbox_that_loses_a_publication() {
    finds("mqtt", |bug| {
        let mut world = running(Delivery::default());
        play(&mut world, 3_000);
        world.mqtt(false);
        play(&mut world, 2_000);
        if bug {
            world.gate.outbox.remove(3).unwrap();
        }
        world.mqtt(true);
        play(&mut world, 3_000);
        world
    });
}

#[test]
fn an_outbox_without_a_bound() {
    finds("bounds", |bug| {
        let mut world = running(Bounds);
        world.mqtt(false);
        play(&mut world, 1_000);
        if bug {
            let one = world.gate.outbox.front().cloned().unwrap();
            let most = usize::try_from(bridge::OUTBOX).unwrap();
            world.gate.outbox.resize(most + 1, one);
        }
        play(&mut world, 2_000);
        world
    });
}

/// Both ends of a session start again with the random numbers of their start before: they agree on the same
/// keys, and begin to count from 0.
#[test]
fn random_numbers_that_repeat() {
    finds("nonces", |bug| {
        let mut world = running(Nonces::default());
        for again in [false, bug] {
            if again {
                (1..=4).for_each(|n| world.machine(n).boots -= 1);
                world.gate.starts -= 1;
            }
            (1..=4).for_each(|n| world.crash(n, Tear::Everything));
            world.kill_gateway();
            play(&mut world, 1_000);
            (1..=4).for_each(|n| world.boot(n));
            play(&mut world, 20_000);
        }
        world
    });
}
