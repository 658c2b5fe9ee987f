//! Hosts of capsules that do not keep their contract.

use super::{finds, host, play, running};
use capmesh_node::flash::nor::Tear;
use capmesh_sim::checkers::{Budgets, Checker, Snapshots};
use capmesh_sim::{HostFault, World};

/// A node starts anew, with a host that may be wrong.
fn starts_with(fault: HostFault, checker: impl Checker + 'static, bug: bool) -> World {
    let mut world = running(checker);
    let n = host(&mut world, "adder");
    play(&mut world, 1_000);
    world.crash(n, Tear::Everything);
    world.machine(n).fault = bug.then_some(fault);
    world.boot(n);
    play(&mut world, 30_000);
    world
}

#[test]
fn one_that_restores_nothing() {
    finds("snapshots", |bug| starts_with(HostFault::Forgets, Snapshots::default(), bug));
}

#[test]
fn one_that_lets_a_handler_go_on_past_its_fuel() {
    finds("budgets", |bug| starts_with(HostFault::Burns(1_000_000), Budgets::default(), bug));
}
