//! Rosters are brought, and the newest one stays.

use super::*;

#[test]
fn the_newer_one_wins_whoever_brings_it() {
    let mut world = two();
    for (version, len) in [(2, 0), (3, 60), (5, 70), (9, 0)] {
        let new = long_roster(version, len);
        assert_eq!(put(&mut world, GATEWAY, "r", &new).code, Code::CHANGED);
        assert_eq!(world.machine(address(1)).roster_version(), Some(version));
        // The same again, and one before it.
        assert_eq!(put(&mut world, GATEWAY, "r", &new).code, Code::CHANGED);
        let old = put(&mut world, GATEWAY, "r", &roster(1, EVERYBODY));
        assert_eq!(problem(&old), ErrorCode::StaleRevision);
        let party = world.machine(address(1));
        let flash = party.nor.bytes();
        assert_eq!(party.site.roster(flash, &party.store).unwrap().as_bytes(), new);
        // A long one lies in an extent, a short one in the log, and nothing is left of the other.
        assert_eq!(party.store.extents(flash).count(), usize::from(len > 0));
        assert_eq!(party.store.contains(kinds::ROSTER, 0), len == 0);
    }
    let changes =
        world.machine(address(1)).site_events.iter().filter(|e| **e == Event::RosterChanged);
    assert_eq!(changes.count(), 4);
    reboot(&mut world, 1);
    assert_eq!(world.machine(address(1)).roster_version(), Some(9));
}

#[test]
fn it_may_come_in_parts_of_any_size() {
    // From one that fits a small part to one that does not fit RAM.
    for more in [0, 7, 9, 10, 11, 12, 15] {
        for size in [64, 256, 512, 1_024] {
            let mut world = two();
            let new = long_roster(2, more);
            let asking = world.machine(address(GATEWAY)).ask(peer(1), Code::PUT, "r", &new);
            asking.in_parts_of(BlockSize::at_most(size).unwrap());
            assert!(run(&mut world, GATEWAY, 600, |party| party.answer().is_some()));
            let said = world.machine(address(GATEWAY)).answer().unwrap();
            assert_eq!(said.code, Code::CHANGED, "{} bytes in parts of {size}", new.len());
        }
    }
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let long = long_roster(2, 60);
    let changed = |at: usize| {
        let mut bad = long.clone();
        bad[at] ^= 1;
        bad
    };
    let forged = signed_roster("greenhouse", GATEWAY, 2, &[(1, Role::Node, FAR)]);
    let other = signed_roster("other", SITE, 2, &[(1, Role::Node, FAR)]);
    for (body, expected) in [
        (b"nonsense".to_vec(), ErrorCode::Malformed),
        (forged, ErrorCode::BadSignature),
        (other, ErrorCode::Untrusted),
        (changed(120), ErrorCode::BadSignature),
        (changed(long.len() - 20), ErrorCode::Malformed),
        (long[..long.len() - 1].to_vec(), ErrorCode::Malformed),
        (long[..150].to_vec(), ErrorCode::Malformed),
        ([&long[..], b"!"].concat(), ErrorCode::Malformed),
    ] {
        let mut world = two();
        let said = put(&mut world, GATEWAY, "r", &body);
        assert_eq!(problem(&said), expected);
        let party = world.machine(address(1));
        assert_eq!(party.roster_version(), Some(1));
        party.settle(Instant::from_secs(1_000));
        assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
        assert!(matches!(party.site_events[..], [Event::Refused { .. }]));
        // And the right one is taken afterwards.
        assert_eq!(put(&mut world, GATEWAY, "r", &long).code, Code::CHANGED);
    }
}

#[test]
fn only_members_bring_and_see_it() {
    let mut world = world(1, vec![(1, node(1)), (50, Party::new(50)), (2, node(2))]);
    let new = roster(2, EVERYBODY);
    assert_eq!(put(&mut world, 50, "r", &new).code, Code::UNAUTHORIZED);
    assert_eq!(put(&mut world, 2, "r", &new).code, Code::CHANGED);
    // A node without a site has none, and takes none.
    world.machines.insert(address(1), Party::new(1));
    assert_eq!(problem(&put(&mut world, 2, "r", &new)), ErrorCode::WrongState);
}

#[test]
fn what_changed_is_enough() {
    for more in [0, 60] {
        let (old, new) = (long_roster(2, more), long_roster(3, more + 1));
        let mut world = two();
        put(&mut world, GATEWAY, "r", &old);
        let parse = |bytes| Roster::from_trusted(bytes).unwrap();
        let mut buf = [0; 1_024];
        let len = Delta::between(&parse(&old), &parse(&new), &mut buf).unwrap();
        assert_eq!(put(&mut world, GATEWAY, "r", &buf[..len]).code, Code::CHANGED);
        assert_eq!(put(&mut world, GATEWAY, "r", &buf[..len]).code, Code::CHANGED);
        let party = world.machine(address(1));
        let held = party.site.roster(party.nor.bytes(), &party.store).unwrap();
        assert_eq!(held.as_bytes(), new);

        // It leads on from nowhere else.
        let mut world = two();
        let said = put(&mut world, GATEWAY, "r", &buf[..len]);
        assert_eq!(problem(&said), ErrorCode::StaleRevision);
        buf[len - 1] ^= 1;
        put(&mut world, GATEWAY, "r", &old);
        let said = put(&mut world, GATEWAY, "r", &buf[..len]);
        assert_eq!(problem(&said), ErrorCode::Malformed);
    }
}

/// Cuts the power at every operation while node 1 is brought this.
fn cut_everywhere(before: &[u8], body: &[u8], after_it: u32) {
    let held = Roster::from_trusted(before).unwrap().head().version.0;
    for after in 0.. {
        let mut world = two();
        put(&mut world, GATEWAY, "r", before);
        let party = world.machine(address(1));
        party.settle(Instant::ZERO);
        party.ops = 0;
        let tear = if after % 2 == 0 { Tear::Bits(after) } else { Tear::Everything };
        party.cut = Some((u32::try_from(after).unwrap(), tear));
        world.machine(address(GATEWAY)).ask(peer(1), Code::PUT, "r", body);
        let is_there = |party: &Party| party.roster_version() == Some(after_it);
        run(&mut world, 1, 60, |party| party.is_off || is_there(party));
        let now = world.now;
        world.machine(address(1)).settle(now);
        if !world.machine(address(1)).is_off {
            assert!(after > 2);
            return;
        }
        reboot(&mut world, 1);
        let version = world.machine(address(1)).roster_version();
        assert!(version == Some(held) || version == Some(after_it), "{after}: {version:?}");
        world.machines.insert(address(GATEWAY), node(GATEWAY));
        let now = world.now;
        world.machine(address(1)).settle(now);
        assert_eq!(put(&mut world, GATEWAY, "r", body).code, Code::CHANGED, "{after}");
        let party = world.machine(address(1));
        assert!(is_there(party));
        assert!(party.store.extents(party.nor.bytes()).count() <= 1);
    }
}

#[test]
fn the_power_may_go_at_every_operation() {
    let (short, long, longer) = (roster(2, EVERYBODY), long_roster(3, 24), long_roster(4, 25));
    cut_everywhere(&short, &roster(3, EVERYBODY), 3);
    cut_everywhere(&short, &long, 3);
    let mut buf = [0; 1_024];
    let parse = |bytes| Roster::from_trusted(bytes).unwrap();
    let len = Delta::between(&parse(&long), &parse(&longer), &mut buf).unwrap();
    cut_everywhere(&long, &buf[..len], 4);
    cut_everywhere(&long, &roster(4, EVERYBODY), 4);
}

#[test]
fn versions_that_race_end_with_the_newest() {
    let delay = Duration::from_millis(1)..Duration::from_millis(400);
    for seed in 0..5 {
        let parties = vec![
            (1, node(1)),
            (2, node(2)),
            (3, node(3)),
            (OPERATOR, node(OPERATOR)),
            (GATEWAY, node(GATEWAY)),
        ];
        let mut world = world(seed, parties);
        world.faults = Faults { loss: 15, duplication: 15, delay: delay.clone() };
        let rosters = [long_roster(2, 30), roster(3, EVERYBODY), long_roster(4, 40)];
        let brought = [(OPERATOR, 4), (2, 2), (3, 3), (GATEWAY, 4)];
        for (from, version) in brought {
            world.machine(address(from)).ask(peer(1), Code::PUT, "r", &rosters[version - 2]);
        }
        for (from, _) in brought {
            assert!(run(&mut world, from, 3_600, |party| party.answer().is_some()));
        }
        // Whoever was told to wait comes again.
        let said = put(&mut world, GATEWAY, "r", &rosters[2]);
        assert_eq!(said.code, Code::CHANGED);
        assert_eq!(world.machine(address(1)).roster_version(), Some(4), "seed {seed}");
    }
}

#[test]
fn one_who_stops_in_the_middle_does_not_hold_up_others() {
    let mut world =
        world(1, vec![(1, node(1)), (2, node(2)), (3, node(3)), (GATEWAY, node(GATEWAY))]);
    world.machine(address(2)).ask(peer(1), Code::PUT, "r", &long_roster(2, 60));
    assert!(run(&mut world, 1, 60, |party| party.site.incoming.is_some()));
    world.machines.remove(&address(2));
    // A gateway matters more than a node; another node waits.
    let said = put(&mut world, 3, "r", &roster(3, EVERYBODY));
    assert_eq!(problem(&said), ErrorCode::Busy);
    assert_eq!(put(&mut world, GATEWAY, "r", &long_roster(4, 50)).code, Code::CHANGED);
    let party = world.machine(address(1));
    assert_eq!(party.store.extents(party.nor.bytes()).count(), 1);
    world.machines.insert(address(2), node(2));
    world.machine(address(2)).ask(peer(1), Code::PUT, "r", &long_roster(5, 60));
    assert!(run(&mut world, 1, 60, |party| party.site.incoming.is_some()));
    world.machines.remove(&address(2));
    assert!(run(&mut world, 1, 100, |party| party.site.incoming.is_none()));
    assert_eq!(put(&mut world, 3, "r", &roster(6, EVERYBODY)).code, Code::CHANGED);
}
