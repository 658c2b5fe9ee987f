//! What moves, and what is killed: nothing is lost, nothing comes twice, and all works again soon.

use crate::broker::has_mosquitto;
use crate::process::PATIENCE;
use crate::town::{COUNTED, RECOVERY, Town, assert_all, assert_once};
use capmesh_client::api::{MigrationState, MigrationView};
use std::time::Instant;

const BETWEEN: [&str; 2] = ["left", "right"];

fn town(test: &str) -> Town {
    let town = Town::start(test, &["source", "left", "right"], COUNTED);
    town.count();
    town
}

/// The migration as it is now.
fn now(town: &Town, migration: &MigrationView) -> Option<MigrationView> {
    let all = town.ask(town.client.migrations()).ok()?;
    let same = |m: &MigrationView| m.instance == migration.instance && m.epoch == migration.epoch;
    all.into_iter().find(same)
}

/// The step that a migration is in.
fn step(migration: &MigrationView) -> Option<&str> {
    let last = migration.steps.last().filter(|step| step.took_us.is_none())?;
    Some(&last.step)
}

/// Moves a capsule of the pipeline that counts.
fn move_once(town: &Town, name: &str) -> MigrationView {
    let (migration, to) = town.begin_move(name, BETWEEN);
    town.wait(RECOVERY, "it has moved", |town| {
        now(town, &migration).is_some_and(|m| m.state == MigrationState::Done)
    });
    assert_eq!(town.place_of(name), Some(to));
    now(town, &migration).unwrap()
}

#[test]
fn under_load_a_move_and_a_killed_node_lose_and_double_nothing() {
    if !has_mosquitto() {
        return;
    }
    let mut town = town("moves");
    for name in ["range", "fill", "range", "fill", "range", "fill"] {
        let before = town.rows();
        let blackout = move_once(&town, name).blackout_us.unwrap();
        town.wait_rows(RECOVERY, 50);
        println!("{name} moved, {blackout} us nowhere, {} rows meanwhile", town.rows() - before);
    }
    town.listener.heard(assert_once);

    // A node that is killed and comes back goes on where it was.
    let node = town.place_of("fill").unwrap();
    town.node(&node).kill();
    town.node(&node).start_again();
    let took = town.wait_rows(RECOVERY, 50);
    println!("a killed node that comes back: rows after {took:?}");
    town.listener.heard(assert_once);

    // One that stays away is replaced.
    let node = town.place_of("fill").unwrap();
    town.node(&node).kill();
    let killed = Instant::now();
    town.wait(RECOVERY, "it runs elsewhere", |town| {
        town.place_of("fill").is_some_and(|now| now != node)
    });
    let left = RECOVERY.saturating_sub(killed.elapsed());
    town.wait_rows(left, 50);
    println!("a killed node that stays away: rows after {:?}", killed.elapsed());
}

#[test]
fn a_gateway_killed_in_the_middle_of_a_move_finishes_or_undoes_it() {
    if !has_mosquitto() {
        return;
    }
    let mut town = town("gateway");
    for wanted in ["prepare", "quiesce", "restore", "start", "release"] {
        // A step may pass while nobody looks: then another move is begun.
        let begun = Instant::now();
        while !kill_in(&mut town, wanted) {
            assert!(begun.elapsed() < PATIENCE, "no move was seen in its step {wanted}");
        }
        let killed = Instant::now();
        town.start_gateway();
        town.wait(RECOVERY, "the move is over", Town::is_calm);
        assert!(town.place_of("fill").is_some(), "it runs");
        town.wait_rows(RECOVERY.saturating_sub(killed.elapsed()), 50);
        println!("killed in {wanted}: rows after {:?}", killed.elapsed());
        town.listener.heard(assert_all);
    }
}

/// Moves a capsule and kills the gateway when it is seen in a step; says whether it was.
fn kill_in(town: &mut Town, wanted: &str) -> bool {
    let (migration, _) = town.begin_move("fill", BETWEEN);
    let begun = Instant::now();
    loop {
        let seen = now(town, &migration);
        if seen.as_ref().and_then(step) == Some(wanted) {
            town.kill_gateway();
            return true;
        }
        if seen.as_ref().is_some_and(|m| m.state == MigrationState::Done) {
            return false;
        }
        assert!(begun.elapsed() < RECOVERY, "it does not get to {wanted}: {seen:?}");
    }
}

#[test]
fn a_killed_broker_misses_nothing() {
    if !has_mosquitto() {
        return;
    }
    let mut town = town("broker");
    // All that the broker has acknowledged has arrived before it is killed; what it had not, the gateway
    // has to keep.
    town.gateway().signal("STOP");
    town.broker.publish("capmesh/home/node/none/count--fill/whole", r#"{"row":0}"#);
    let is_mark =
        |all: &[crate::broker::Message]| all.last().is_some_and(|m| m.topic.contains("none"));
    town.wait(PATIENCE, "what it had has arrived", |town| town.listener.heard(is_mark));
    town.broker.kill();
    town.gateway().signal("CONT");
    town.wait(PATIENCE, "rows wait for the broker", |town| {
        let site = town.ask(town.client.site());
        site.is_ok_and(|site| !site.mqtt.connected && site.mqtt.waiting >= 100)
    });
    // Who listens is there before the gateway is.
    town.gateway().signal("STOP");
    town.broker.start_again();
    let port = town.broker.port;
    town.listener.listen_again(port, COUNTED);
    town.gateway().signal("CONT");
    let took = town.wait_rows(RECOVERY, 200);
    println!("a killed broker: rows after {took:?}");
    town.listener.heard(assert_all);
    town.wait(RECOVERY, "nothing waits any more", |town| {
        town.ask(town.client.site()).is_ok_and(|site| site.mqtt.waiting < 50)
    });
}
