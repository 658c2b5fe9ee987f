//! Rosters pass from neighbour to neighbour.

use super::*;

fn hear(world: &mut World, n: u8, from: u8, version: u32) {
    let now = world.now;
    let party = world.machine(address(n));
    let flash = party.nor.bytes();
    party.site.heard(now, flash, &party.store, peer(from), Revision(version));
}

fn asked_of(world: &World, n: u8) -> usize {
    world.sent.iter().filter(|(_, datagram)| datagram.from == address(n)).count()
}

#[test]
fn a_revocation_goes_from_neighbour_to_neighbour_in_one_request_each() {
    let old = long_roster(2, 40);
    let mut members: Vec<u8> = (20..60).chain(EVERYBODY.iter().copied()).collect();
    members.retain(|n| *n != PUBLISHER);
    let new = roster(3, &members);
    let parties = vec![(1, node(1)), (2, node(2)), (3, node(3)), (GATEWAY, node(GATEWAY))];
    let mut world = world(1, parties);
    for n in [1, 2, 3] {
        world.machine(address(GATEWAY)).ask(peer(n), Code::PUT, "r", &old);
        assert!(run(&mut world, GATEWAY, 60, |party| party.answer().is_some()));
    }
    put(&mut world, GATEWAY, "r", &new);
    assert_eq!(world.machine(address(1)).roster_version(), Some(3));
    for (n, from) in [(2, 1), (3, 2)] {
        world.sent.clear();
        hear(&mut world, n, from, 3);
        assert!(run(&mut world, n, 60, |party| party.roster_version() == Some(3)));
        assert_eq!(asked_of(&world, n), 1, "one request");
        let party = world.machine(address(n));
        assert!(party.site_events.contains(&Event::RosterChanged));
        let flash = party.nor.bytes();
        let gone = party.site.member(flash, &party.store, id(PUBLISHER), Role::Publisher);
        assert_eq!(gone.unwrap_err().code, ErrorCode::Untrusted);
        let now = world.now;
        world.machine(address(n)).settle(now);
    }
}

#[test]
fn who_was_away_for_longer_gets_the_whole_of_it_over_a_bad_link() {
    let delay = Duration::from_millis(5)..Duration::from_millis(300);
    for seed in 0..4 {
        let mut world = world(seed, vec![(1, node(1)), (2, node(2)), (GATEWAY, node(GATEWAY))]);
        put(&mut world, GATEWAY, "r", &long_roster(2, 50));
        put(&mut world, GATEWAY, "r", &long_roster(3, 55));
        world.faults = Faults { loss: 20, duplication: 15, delay: delay.clone() };
        hear(&mut world, 2, 1, 3);
        assert!(run(&mut world, 2, 3_600, |party| party.roster_version() == Some(3)));
    }
}

#[test]
fn one_who_announces_what_is_not_there_is_left_alone_and_holds_up_nobody() {
    let mut world =
        world(1, vec![(1, node(1)), (2, node(2)), (3, node(3)), (GATEWAY, node(GATEWAY))]);
    put(&mut world, GATEWAY, "r", &roster(2, EVERYBODY));
    for _ in 0..50 {
        hear(&mut world, 2, 3, 1_000);
        run(&mut world, 2, 4, |_| false);
        world.now += Duration::from_secs(2);
    }
    let asked = asked_of(&world, 2);
    assert!((2..12).contains(&asked), "{asked} requests");
    hear(&mut world, 2, 1, 2);
    assert!(run(&mut world, 2, 60, |party| party.roster_version() == Some(2)));
}
