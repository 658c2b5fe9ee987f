//! Flash that loses what it said was durable, or in which a bit turns over.

use super::{finds, host, moves, play, running};
use capmesh_node::flash::nor::Tear;
use capmesh_sim::checkers::{
    Checker, Convergence, Delivery, Installed, Ownership, Rest, Snapshots, convergence,
};
use capmesh_sim::{World, capsules};
use std::time::Duration;

/// A node's power is cut, and its flash may be as it was a second before.
fn forgets(name: &str, checker: impl Checker + 'static, bug: bool) -> World {
    let mut world = running(checker);
    let n = host(&mut world, name);
    let before = world.machine(n).flash().clone();
    play(&mut world, 1_000);
    world.crash(n, Tear::Everything);
    if bug {
        *world.machine(n).flash_mut() = before;
    }
    world.boot(n);
    play(&mut world, 5_000);
    world
}

#[test]
fn a_producer_that_forgets_what_it_has_sent() {
    finds("delivery", |bug| forgets("source", Delivery::default(), bug));
}

#[test]
fn a_consumer_that_forgets_what_it_has_acknowledged() {
    finds("delivery", |bug| forgets("sink", Delivery::default(), bug));
}

#[test]
fn an_instance_that_goes_on_from_an_old_state() {
    finds("snapshots", |bug| forgets("adder", Snapshots::default(), bug));
}

/// An instance moves away from a node, which may come back as it was before, while there is no gateway to
/// tell it otherwise.
fn comes_back(checker: impl Checker + 'static, bug: bool) -> World {
    let mut world = running(checker);
    let n = host(&mut world, "source");
    let before = world.machine(n).flash().clone();
    moves(&mut world, "source");
    world.downtime = Duration::from_secs(3_600);
    world.kill_gateway();
    world.crash(n, Tear::Everything);
    if bug {
        *world.machine(n).flash_mut() = before;
    }
    world.boot(n);
    play(&mut world, 5_000);
    world
}

#[test]
fn a_copy_that_was_handed_over_and_goes_on() {
    finds("ownership", |bug| comes_back(Ownership::default(), bug));
}

#[test]
fn a_ghost_at_rest() {
    finds("rest", |bug| {
        let mut world = comes_back(Rest::default(), bug);
        world.rest();
        world
    });
}

#[test]
fn a_mesh_that_does_not_become_as_it_should() {
    finds("convergence", |bug| {
        let mut world = comes_back(Convergence::default(), bug);
        world.healed(&[]);
        let millis = u64::try_from(convergence::WITHIN.as_millis()).unwrap();
        play(&mut world, millis + 5_000);
        world
    });
}

#[test]
fn a_module_with_a_bit_turned_over() {
    finds("installed", |bug| {
        let mut world = running(Installed::default());
        let n = host(&mut world, "adder");
        let module = capsules::adder().module().to_vec();
        let flash = world.machine(n).flash_mut();
        let at = flash.bytes().windows(module.len()).position(|bytes| bytes == module).unwrap();
        if bug {
            flash.spoil(u32::try_from(at).unwrap() + 40, 0x10);
        }
        world.rest();
        world
    });
}
