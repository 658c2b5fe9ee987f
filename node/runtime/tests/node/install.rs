//! Capsules come from peers.

use crate::world::capsules::{self, RowOf};
use crate::world::site::{start, target};
use crate::world::{World, node_id};
use capmesh_coap::Code;
use capmesh_wire::control::{Command, Install, Nothing, Remove, Reply, Start};
use capmesh_wire::inventory::{InstanceState, Inventory};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{Digest, ErrorCode, List, cbor, paths};
use std::time::Duration;

fn holds(world: &mut World, n: u8, capsule: &Digest) -> bool {
    let answer = world.ask(n, Code::GET, paths::INVENTORY, 0, &[]);
    let inventory: Inventory<'_> = cbor::decode(&answer.payload).expect("an inventory");
    inventory.capsules.iter().any(|held| held == capsule.prefix())
}

#[test]
fn a_capsule_comes_from_a_peer_through_loss_and_crashes() {
    for seed in 0..4 {
        let mut world = World::new(seed, 2, &capsules::config());
        let source = capsules::padded_source(9_000);
        world.machine(1).preload(1, &source);
        world.boot_all();
        world.introduce_each_other();
        (world.faults.loss, world.faults.duplication) = (10, 5);
        let sources = [node_id(1)];
        let sources = List::new(&sources).expect("few");
        let install = Command::Install(Install { capsule: source.digest(), sources });
        world.retry(2, &install);
        for _ in 0..3 {
            let rest = world.dice.within(0..1_500);
            world.run_for(Duration::from_millis(rest));
            world.crash(2);
            world.boot(2);
            world.introduce_each_other();
            world.retry(2, &install);
        }
        for _ in 0..300 {
            if holds(&mut world, 2, &source.digest()) {
                break;
            }
            world.run_for(Duration::from_secs(1));
        }
        assert!(holds(&mut world, 2, &source.digest()), "seed {seed}: {}", world.log(2));
        let row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
        world.retry(2, &start(&row));
        world.wait(2, 1, InstanceState::Running);
    }
}

#[test]
fn a_start_fetches_what_it_needs_and_a_capsule_in_use_stays() {
    let mut world = World::new(1, 2, &capsules::config());
    let source = capsules::source(1_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    world.introduce_each_other();
    let row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
    let sources = [node_id(1)];
    let sources = List::new(&sources).expect("few");
    let start = Start { target: target(1, 1), assignment: Some(row.row()), sources };
    let answer = world.command(2, &Command::Start(start));
    assert_eq!(answer.reply(), Reply::Accepted(Nothing {}));
    world.wait(2, 1, InstanceState::Running);
    let remove = Command::Remove(Remove { capsule: source.digest() });
    assert_eq!(world.command(2, &remove).problem(), Some(ErrorCode::WrongState));
    world.retry(2, &Command::Stop(target(1, 1)));
    assert_eq!(world.command(2, &remove).reply(), Reply::Done(Nothing {}));
    world.run_for(Duration::from_secs(2));
    assert!(!holds(&mut world, 2, &source.digest()));
    assert_eq!(world.command(2, &remove).problem(), Some(ErrorCode::UnknownCapsule));
}

#[test]
fn a_capsule_that_nobody_trusted_has_signed_is_refused() {
    let mut world = World::new(1, 2, &capsules::config());
    let source = capsules::source(1_000, 10_000);
    world.machine(1).preload(1, &source);
    world.machine(2).set_roster(&crate::world::roster(2, 2, &[crate::world::PUBLISHER]));
    world.boot_all();
    world.introduce_each_other();
    let sources = [node_id(1)];
    let sources = List::new(&sources).expect("few");
    let install = Command::Install(Install { capsule: source.digest(), sources });
    assert_eq!(world.command(2, &install).reply(), Reply::Accepted(Nothing {}));
    world.run_for(Duration::from_secs(10));
    assert!(!holds(&mut world, 2, &source.digest()));
    assert!(world.log(2).contains("is refused"), "{}", world.log(2));
}
