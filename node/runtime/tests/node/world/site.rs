//! What a gateway does: plans, commands, moves; and the pipeline that tests run.

use super::capsules::{self, End, Packed, RowOf};
use super::{GATEWAY, World, address, key, node_id};
use capmesh_coap::Code;
pub(crate) use capmesh_node::test_util::capsules::expected;
use capmesh_wire::control::{Command, Quiesce, Release, Reply, Restore, Start, Target};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::{Address, Delivery, Plan, Route};
use capmesh_wire::{Epoch, InstanceId, List, Name, Revision, content_format, format, paths};
use std::time::Duration;

pub(crate) fn target(instance: u32, epoch: u32) -> Target {
    Target { instance: InstanceId(instance), epoch: Epoch(epoch) }
}

pub(crate) fn start<'a>(row: &'a RowOf) -> Command<'a> {
    let target = target(row.instance, row.epoch);
    Command::Start(Start { target, assignment: Some(row.row()), sources: List::EMPTY })
}

/// Gives each node the rows that are its own, as the gateway's signed plan, whatever happens to it
/// meanwhile.
pub(crate) fn plan(world: &mut World, revision: u32, rows: &[(u8, &RowOf)]) {
    for n in 1..=world.machines.len() as u8 {
        let own: Vec<_> =
            rows.iter().filter(|(of, _)| *of == n).map(|(_, row)| row.row()).collect();
        let addresses: Vec<_> =
            (1..=world.machines.len() as u8).map(|n| [Address(address(n))]).collect();
        let routes: Vec<_> = (1_u8..)
            .zip(&addresses)
            .map(|(to, addresses)| Route {
                node: node_id(to),
                addresses: List::new(addresses).unwrap(),
                relay: world.relay_between(n, to).map(node_id),
            })
            .collect();
        let plan = Plan {
            format: format::PLAN,
            site: Name::new("site").unwrap(),
            revision: Revision(revision),
            node: node_id(n),
            routes: List::new(&routes).unwrap(),
            assignments: List::new(&own).unwrap(),
        };
        let (mut scratch, mut signed) = (vec![0; 4_096], vec![0; 4_096]);
        let len = plan.sign(&key(GATEWAY), &mut scratch, &mut signed).unwrap();
        let signed = &signed[..len];
        for attempt in 0.. {
            let format = content_format::PLAN;
            let exchange = world.begin_ask(n, Code::PUT, paths::PLAN, format, signed);
            world.chaos();
            let answer = world.answer(exchange);
            if answer.is_success() {
                break;
            }
            assert!(attempt < 60, "seed {}: {answer:?}", world.seed);
            world.run_for(Duration::from_millis(500));
        }
    }
}

/// The pipeline source -> adder -> sink with `count` messages over nodes 1, 2 and 1.
pub(crate) fn pipeline(count: u32, micros: u32, delivery: Delivery) -> ([Packed; 3], [RowOf; 3]) {
    let capsules = [capsules::source(count, micros), capsules::adder(), capsules::sink()];
    let rows = [
        RowOf::new(1, 1, &capsules[0], None, Some(End(2, 2)), delivery),
        RowOf::new(2, 1, &capsules[1], Some(End(1, 1)), Some(End(1, 3)), delivery),
        RowOf::new(3, 1, &capsules[2], Some(End(2, 2)), None, delivery),
    ];
    (capsules, rows)
}

pub(crate) fn last(world: &mut World, n: u8, actuator: u8) -> f64 {
    let machine = world.machine(n);
    let found = machine.actuations.iter().rev().find(|(_, of, _)| *of == actuator);
    found.map_or(0.0, |(_, _, value)| *value)
}

/// Moves the instance of `row` to another node, as a gateway does; `rows` is the plan that follows.
pub(crate) fn migrate(
    world: &mut World,
    row: &RowOf,
    epoch: u32,
    from: u8,
    to: u8,
    rows: &[(u8, &RowOf)],
) {
    let (old, new) = (target(row.instance, epoch - 1), target(row.instance, epoch));
    let prepare = Start { target: new, assignment: Some(row.row()), sources: List::EMPTY };
    world.retry(to, &Command::Prepare(prepare));
    world.wait(to, row.instance, InstanceState::Prepared);
    let quiesce = Command::Quiesce(Quiesce { target: old, to: node_id(to) });
    let answer = world.retry(from, &quiesce);
    let Reply::Snapshot(snapshot) = answer.reply() else { panic!("{answer:?}") };
    let restore = Restore { target: new, snapshot, from: node_id(from) };
    world.retry(to, &Command::Restore(restore));
    world.wait(to, row.instance, InstanceState::Restored);
    // Here the gateway commits.
    let start = Start { target: new, assignment: Some(row.row()), sources: List::EMPTY };
    world.retry(to, &Command::Start(start));
    plan(world, epoch, rows);
    world.retry(from, &Command::Release(Release { target: old, to: node_id(to) }));
}

/// Begins to move an instance and undoes it, as a gateway does that has not committed.
pub(crate) fn migrate_and_undo(world: &mut World, row: &RowOf, epoch: u32, from: u8, to: u8) {
    let (old, new) = (target(row.instance, epoch - 1), target(row.instance, epoch));
    let prepare = Start { target: new, assignment: Some(row.row()), sources: List::EMPTY };
    world.retry(to, &Command::Prepare(prepare));
    world.wait(to, row.instance, InstanceState::Prepared);
    let quiesce = Command::Quiesce(Quiesce { target: old, to: node_id(to) });
    let answer = world.retry(from, &quiesce);
    let Reply::Snapshot(snapshot) = answer.reply() else { panic!("{answer:?}") };
    if world.dice.within(0..2) == 0 {
        let restore = Restore { target: new, snapshot, from: node_id(from) };
        world.retry(to, &Command::Restore(restore));
    }
    world.retry(from, &Command::Resume(old));
    world.retry(to, &Command::Stop(new));
}
