//! Who may do what.

use crate::world::capsules::{self, RowOf};
use crate::world::site::{start, target};
use crate::world::{GATEWAY, PUBLISHER, UNIX, World, roster};
use capmesh_coap::Code;
use capmesh_wire::control::{Command, Moment, Renew, Reply};
use capmesh_wire::inventory::{InstanceState, Status};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{ErrorCode, cbor, content_format, paths};
use std::time::Duration;

#[test]
fn who_is_off_the_roster_is_heard_no_more() {
    let mut world = World::new(1, 2, &capsules::config());
    world.boot_all();
    assert!(world.ask(1, Code::GET, paths::STATUS, 0, &[]).is_success());
    // The site signs a roster without this gateway.
    let without = roster(2, 2, &[GATEWAY]);
    let answer = world.ask(1, Code::PUT, paths::ROSTER, content_format::ROSTER, &without);
    assert!(answer.is_success() || answer.code == Code::GATEWAY_TIMEOUT, "{answer:?}");
    let answer = world.ask(1, Code::GET, paths::STATUS, 0, &[]);
    assert!(!answer.is_success(), "{answer:?}");
    // An older roster does not bring it back, not even after a restart.
    world.crash(1);
    world.boot(1);
    assert!(!world.ask(1, Code::GET, paths::STATUS, 0, &[]).is_success());
    // The other node has not heard of it yet.
    assert!(world.ask(2, Code::GET, paths::STATUS, 0, &[]).is_success());
}

#[test]
fn an_older_roster_is_refused() {
    let mut world = World::new(1, 1, &capsules::config());
    world.boot_all();
    let newer = roster(3, 1, &[]);
    assert!(world.ask(1, Code::PUT, paths::ROSTER, content_format::ROSTER, &newer).is_success());
    let older = roster(2, 1, &[]);
    let answer = world.ask(1, Code::PUT, paths::ROSTER, content_format::ROSTER, &older);
    assert_eq!(answer.problem(), Some(ErrorCode::StaleRevision));
}

#[test]
fn nobody_commands_without_a_role() {
    let mut world = World::new(1, 2, &capsules::config());
    let source = capsules::source(1_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    let row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
    let command = start(&row);
    // A node of the site that is not a gateway.
    world.become_node(2);
    assert_eq!(world.command(1, &command).problem(), Some(ErrorCode::Forbidden));
    assert_eq!(world.command(1, &Command::Stop(target(1, 1))).code, Code::FORBIDDEN);
    // Nobody at all.
    let answer = world.ask_anonymously(1, Code::POST, paths::CONTROL, &command);
    assert_eq!(answer.code, Code::UNAUTHORIZED);
    let answer = world.ask_anonymously(1, Code::GET, paths::STATUS, &command);
    assert_eq!(answer.code, Code::UNAUTHORIZED);
}

#[test]
fn a_publisher_who_is_revoked_runs_nothing_any_more() {
    let mut world = World::new(1, 1, &capsules::config());
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    let row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
    world.retry(1, &start(&row));
    world.wait(1, 1, InstanceState::Running);
    let without = roster(2, 1, &[PUBLISHER]);
    assert!(world.ask(1, Code::PUT, paths::ROSTER, content_format::ROSTER, &without).is_success());
    for _ in 0..2 {
        world.run_for(Duration::from_secs(1));
        let status = world.status(1, 1).expect("known");
        assert_eq!(
            (status.state, status.reason),
            (InstanceState::Failed, Some(ErrorCode::Untrusted))
        );
        world.crash(1);
        world.boot(1);
    }
    // The site has trusted him again.
    let with = roster(3, 1, &[]);
    assert!(world.ask(1, Code::PUT, paths::ROSTER, content_format::ROSTER, &with).is_success());
    world.retry(1, &start(&row));
    world.wait(1, 1, InstanceState::Running);
}

#[test]
fn the_gateway_tells_the_time() {
    let mut world = World::new(1, 1, &capsules::config());
    world.boot_all();
    // A command shows who the gateway is.
    assert!(!world.command(1, &Command::Stop(target(1, 1))).is_success());
    world.run_for(Duration::from_secs(600));
    let answer = world.ask(1, Code::GET, paths::STATUS, 0, &[]);
    let status: Status<'_> = cbor::decode(&answer.payload).expect("a status");
    let clock = status.clock.expect("it has asked");
    let error = clock.at(world.now).micros.abs_diff(UNIX + world.now.as_micros());
    assert!(error < 5_000, "off by {error} us");
}

#[test]
fn an_older_epoch_is_refused_and_a_newer_one_takes_over() {
    let mut world = World::new(1, 1, &capsules::config());
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    let rows = [1, 2].map(|e| RowOf::new(1, e, &source, None, None, Delivery::Latest));
    world.retry(1, &start(&rows[1]));
    assert_eq!(world.command(1, &start(&rows[0])).problem(), Some(ErrorCode::StaleEpoch));
    for command in [Command::Stop(target(1, 1)), Command::Resume(target(1, 1))] {
        assert_eq!(world.command(1, &command).problem(), Some(ErrorCode::StaleEpoch));
    }
    assert_eq!(world.wait(1, 1, InstanceState::Running).epoch.0, 2);
    assert_eq!(
        world.command(1, &Command::Stop(target(7, 1))).problem(),
        Some(ErrorCode::UnknownInstance)
    );
}

#[test]
fn a_lease_runs_out_and_is_not_taken_up_by_a_restart() {
    let mut world = World::new(1, 1, &capsules::config());
    let source = capsules::source(1_000_000, 10_000);
    world.machine(1).preload(1, &source);
    world.boot_all();
    let mut row = RowOf::new(1, 1, &source, None, None, Delivery::Latest);
    row.lease_ms = Some(5_000);
    world.retry(1, &start(&row));
    world.wait(1, 1, InstanceState::Stopped);
    let renew = |since| Command::Renew(Renew { target: target(1, 1), lease_ms: 5_000, since });
    let now = renew(None);
    world.retry(1, &now);
    world.wait(1, 1, InstanceState::Running);
    world.run_for(Duration::from_secs(4));
    let Reply::Renewed(renewed) = world.command(1, &now).reply() else { panic!("not renewed") };
    // One that was given long ago and comes now makes it no longer.
    let Moment { boots, uptime_ms } = renewed;
    let late = renew(Some(Moment { boots, uptime_ms: uptime_ms - 3_000 }));
    assert!(matches!(world.command(1, &late).reply(), Reply::Renewed(_)));
    let before = renew(Some(Moment { boots: boots - 1, uptime_ms }));
    assert_eq!(world.command(1, &before).problem(), Some(ErrorCode::WrongState));
    world.run_for(Duration::from_millis(4_500));
    assert_eq!(world.status(1, 1).expect("known").state, InstanceState::Running);
    world.run_for(Duration::from_millis(500));
    let status = world.status(1, 1).expect("known");
    assert_eq!(
        (status.state, status.reason),
        (InstanceState::Stopped, Some(ErrorCode::LeaseExpired))
    );
    world.retry(1, &now);
    world.wait(1, 1, InstanceState::Running);
    world.crash(1);
    world.boot(1);
    world.run_for(Duration::from_secs(1));
    let status = world.status(1, 1).expect("known");
    assert_eq!(
        (status.state, status.reason),
        (InstanceState::Stopped, Some(ErrorCode::LeaseExpired))
    );
    world.retry(1, &now);
    world.wait(1, 1, InstanceState::Running);
}
