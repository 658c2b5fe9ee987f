//! A node and its site, over links and flash that fail.

use super::documents::Known;
use super::rebuild::Rebuilt;
use super::start::look;
use super::{Event, documents::Kind};
use crate::flash::kinds;
use crate::flash::nor::{Nor, Tear};
use crate::testing::*;
use capmesh_coap::Code;
use capmesh_coap::block::BlockSize;
use capmesh_coap::test_util::Faults;
use capmesh_wire::control::Adopt;
use capmesh_wire::roster::Delta;
use capmesh_wire::{
    BlobRef, Bytes, Credential, Digest, ErrorCode, Instant, Revision, Role, Roster, content_format,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::format;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

const EVERYBODY: &[u8] = &[1, 2, 3, GATEWAY, PUBLISHER, OPERATOR];

fn node(n: u8) -> Party {
    Party::new(n).with_roster(&roster(1, EVERYBODY))
}

/// A roster of so many more nodes, whose keys take a while to make.
fn long_roster(version: u32, more: u8) -> Vec<u8> {
    let more = (20..20 + more).chain(EVERYBODY.iter().copied());
    roster(version, &more.collect::<Vec<_>>())
}

fn put(world: &mut World, from: u8, path: &str, body: &[u8]) -> Said {
    world.machine(address(from)).ask(peer(1), Code::PUT, path, body);
    assert!(run(world, from, 600, |party| party.answer().is_some()));
    world.machine(address(from)).asking.take().unwrap().answer.unwrap()
}

fn problem(said: &Said) -> ErrorCode {
    let problem = said.problem();
    assert_eq!(said.code.0, problem.code.coap_code());
    problem.code
}

fn two() -> World {
    world(1, vec![(1, node(1)), (GATEWAY, node(GATEWAY))])
}

mod identity {
    use super::*;

    #[test]
    fn the_key_is_made_once_whatever_the_power_does() {
        let mut keys = BTreeSet::new();
        for after in 0..12 {
            let nor = Nor::new(FLASH.geometry, FLASH.bytes());
            let mut party = Party::boot(5, nor, Instant::ZERO);
            party.cut = Some((after, Tear::Bits(u64::from(after))));
            party.settle(Instant::ZERO);
            let was_ready = !party.is_off;
            // With other randomness: a key that was durable stays.
            let mut again = Party::boot(6, party.nor, Instant::ZERO);
            again.settle(Instant::ZERO);
            assert!(again.site.is_ready(&again.store));
            let id = again.site.own().id();
            keys.insert(id);
            if was_ready {
                assert_eq!((id, again.site.boots()), (party.site.own().id(), 2));
            }
            let third = Party::boot(7, again.nor, Instant::ZERO);
            assert_eq!(third.site.own().id(), id);
        }
        assert_eq!(keys.len(), 2, "the one of the first boot, or that of the second");
    }

    #[test]
    fn a_node_does_not_speak_before_its_key_is_durable() {
        let mut party = Party::new(5);
        assert!(!party.site.is_ready(&party.store));
        party.settle(Instant::ZERO);
        assert!(party.site.is_ready(&party.store));
        assert_eq!(party.site.own().credential(), credential(5));
    }
}

mod adoption {
    use super::*;

    fn adopt(
        party: &mut Party,
        from: u8,
        roster: &[u8],
        with_claim: bool,
    ) -> Result<(), ErrorCode> {
        let blob = Recipe { chunk_log2: 10, ..Recipe::default() }.make_of(roster);
        let site = credential(SITE);
        let adopt = Adopt {
            site: Bytes::new(&site).unwrap(),
            roster: blob.module,
            claim: with_claim.then(|| party.claim()),
        };
        let adopted = party.site.adopt(&party.store, peer(from), &adopt);
        adopted.map_err(|reason| reason.code)
    }

    /// A gateway that hands out this roster.
    fn gateway(roster: &[u8]) -> Party {
        let blob = Recipe { chunk_log2: 10, ..Recipe::default() }.make_of(roster);
        let mut gateway = Party::new(GATEWAY);
        gateway.shelf.put(blob.module.digest, blob.pieces, blob.stored);
        gateway
    }

    fn fresh(roster: &[u8]) -> World {
        world(1, vec![(1, Party::new(1)), (GATEWAY, gateway(roster))])
    }

    /// Adopts node 1 with this roster; how it ends.
    fn outcome(roster: &[u8]) -> Event {
        let mut world = fresh(roster);
        adopt(world.machine(address(1)), GATEWAY, roster, true).unwrap();
        assert!(run(&mut world, 1, 600, |party| !party.site_events.is_empty()));
        let party = world.machine(address(1));
        let event = party.site_events[0].clone();
        let is_adopted = party.site.is_adopted(&party.store);
        assert_eq!(is_adopted, event == Event::Adopted);
        if !is_adopted {
            assert_eq!(party.roster_version(), None);
            assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
        }
        event
    }

    fn refused(roster: &[u8]) -> ErrorCode {
        match outcome(roster) {
            Event::NotAdopted(reason) => reason.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_is_adopted_once_by_who_knows_its_claim() {
        for roster in [roster(7, EVERYBODY), long_roster(7, 60)] {
            let mut world = fresh(&roster);
            let party = world.machine(address(1));
            party.settle(Instant::ZERO);
            assert_eq!(adopt(party, GATEWAY, &roster, false), Err(ErrorCode::Untrusted));
            assert_eq!(adopt(party, GATEWAY, &roster, true), Ok(()));
            assert_eq!(adopt(party, GATEWAY, &roster, true), Ok(()), "said twice");
            assert_eq!(adopt(party, 2, &roster, true), Err(ErrorCode::Busy));
            assert!(run(&mut world, 1, 60, |party| party.roster_version() == Some(7)));
            let party = world.machine(address(1));
            assert_eq!(party.site_events, [Event::Adopted, Event::RosterChanged]);
            assert_eq!(adopt(party, GATEWAY, &roster, true), Err(ErrorCode::WrongState));
            reboot(&mut world, 1);
            let party = world.machine(address(1));
            let held = party.site.roster(party.nor.bytes(), &party.store).unwrap();
            assert_eq!(held.as_bytes(), roster);
        }
    }

    #[test]
    fn a_roster_that_is_not_the_sites_or_not_this_nodes_is_refused() {
        assert_eq!(outcome(&roster(1, EVERYBODY)), Event::Adopted);
        assert_eq!(refused(&roster(1, &[2, GATEWAY])), ErrorCode::Untrusted);
        let forged = signed_roster("greenhouse", GATEWAY, 1, &[(1, Role::Node, FAR)]);
        assert_eq!(refused(&forged), ErrorCode::BadSignature);
        assert_eq!(refused(&roster_with(1, &[(1, Role::Gateway, FAR)])), ErrorCode::Untrusted);
        assert_eq!(refused(b"no roster"), ErrorCode::Malformed);
        assert_eq!(refused(&long_roster(1, 60)[..5_000]), ErrorCode::Malformed);
    }

    #[test]
    fn who_does_not_hand_out_the_roster_does_not_hold_up_the_next() {
        let roster = roster(1, EVERYBODY);
        let mut world = fresh(&roster);
        adopt(world.machine(address(1)), 3, &roster, true).unwrap();
        assert!(run(&mut world, 1, 300, |party| !party.site_events.is_empty()));
        let party = world.machine(address(1));
        let [Event::NotAdopted(reason)] = &party.site_events[..] else { panic!() };
        assert_eq!(reason.code, ErrorCode::Timeout);
        adopt(party, GATEWAY, &roster, true).unwrap();
        assert!(run(&mut world, 1, 60, |party| party.roster_version() == Some(1)));
    }

    #[test]
    fn who_has_another_roster_by_now_begins_anew() {
        for more in [0, 60] {
            // The gateway was killed when the node had begun to fetch, and has only the newer one.
            let (old, new) = (long_roster(7, more), long_roster(8, more));
            let mut world = fresh(&new);
            adopt(world.machine(address(1)), GATEWAY, &old, true).unwrap();
            run(&mut world, 1, 10, |_| false);
            let party = world.machine(address(1));
            assert_eq!(adopt(party, 2, &new, true), Err(ErrorCode::Busy));
            assert_eq!(adopt(party, GATEWAY, &new, true), Ok(()));
            assert!(run(&mut world, 1, 10, |party| party.roster_version() == Some(8)));
            let party = world.machine(address(1));
            party.settle(Instant::from_secs(1_000));
            assert_eq!(party.store.extents(party.nor.bytes()).count(), usize::from(more > 0));
        }
    }

    #[test]
    fn the_power_may_go_at_every_operation() {
        for roster in [roster(7, EVERYBODY), long_roster(7, 20)] {
            for after in 0.. {
                let mut world = fresh(&roster);
                let party = world.machine(address(1));
                party.settle(Instant::ZERO);
                party.ops = 0;
                let tear = if after % 2 == 0 { Tear::Bits(after) } else { Tear::Everything };
                party.cut = Some((u32::try_from(after).unwrap(), tear));
                adopt(party, GATEWAY, &roster, true).unwrap();
                run(&mut world, 1, 60, |party| party.is_off || party.roster_version().is_some());
                if !world.machine(address(1)).is_off {
                    break;
                }
                reboot(&mut world, 1);
                let party = world.machine(address(1));
                let is_adopted = party.site.is_adopted(&party.store);
                assert_eq!(is_adopted, party.roster_version().is_some(), "{after}");
                if !is_adopted {
                    adopt(party, GATEWAY, &roster, true).unwrap();
                }
                assert!(run(&mut world, 1, 60, |party| party.roster_version() == Some(7)));
            }
        }
    }

    #[test]
    fn the_credential_is_for_those_who_know_the_claim_until_it_is_on_a_roster() {
        let ask = |world: &mut World, query: Option<std::string::String>| {
            let asking = world.machine(address(2)).ask(peer(1), Code::GET, "k", b"");
            if let Some(query) = query {
                asking.query(query);
            }
            assert!(run(world, 2, 60, |party| party.answer().is_some()));
            world.machine(address(2)).asking.take().unwrap().answer.unwrap()
        };
        let mut world = world(1, vec![(1, Party::new(1)), (2, node(2))]);
        let claim = world.machine(address(1)).claim();
        assert_eq!(ask(&mut world, None).code, Code::FORBIDDEN);
        assert_eq!(ask(&mut world, Some("c=aaaa".into())).code, Code::FORBIDDEN);
        let other = format!("c={}", world.machine(address(2)).claim());
        assert_eq!(ask(&mut world, Some(other)).code, Code::FORBIDDEN);
        assert_eq!(ask(&mut world, Some(format!("c={claim}"))).payload, credential(1));
        world.machines.insert(address(1), node(1));
        assert_eq!(ask(&mut world, None).payload, credential(1));
    }
}

mod rosters {
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
}

mod spreading {
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
}

mod plans {
    use super::*;

    #[test]
    fn a_newer_plan_of_a_gateway_counts_and_survives() {
        let mut world = two();
        let rows: Vec<_> = (0..64_u8).map(|n| (Digest::of(&[n]), false)).collect();
        for (revision, rows) in [(1, &rows[..1]), (4, &rows[..]), (5, &[])] {
            let plan = plan(revision, id(1), GATEWAY, rows);
            for _ in 0..2 {
                assert_eq!(put(&mut world, GATEWAY, "p", &plan).code, Code::CHANGED);
            }
            reboot(&mut world, 1);
            let party = world.machine(address(1));
            assert_eq!(party.plan_revision(), Some(revision));
            let held = party.site.plan(party.nor.bytes(), &party.store).unwrap();
            assert!(
                held.assignments.iter().map(|row| row.capsule).eq(rows.iter().map(|row| row.0))
            );
            world.machine(address(GATEWAY)).ask(peer(1), Code::GET, "p", b"");
            assert!(run(&mut world, GATEWAY, 60, |party| party.answer().is_some()));
            assert_eq!(world.machine(address(GATEWAY)).answer().unwrap().payload, plan);
        }
    }

    #[test]
    fn what_is_no_plan_for_this_node_is_refused() {
        let rows: Vec<_> = (0..64_u8).map(|n| (Digest::of(&[n]), false)).collect();
        let good = plan(5, id(1), GATEWAY, &rows);
        let mut bad = good.clone();
        bad[3_000] ^= 1;
        for (plan, expected) in [
            (plan(5, id(2), GATEWAY, &[]), ErrorCode::Malformed),
            (plan(5, id(1), OPERATOR, &[]), ErrorCode::Untrusted),
            (plan(5, id(1), 77, &rows), ErrorCode::Untrusted),
            (plan(1, id(1), GATEWAY, &rows), ErrorCode::StaleRevision),
            (bad, ErrorCode::BadSignature),
            (good[..good.len() - 1].to_vec(), ErrorCode::Malformed),
            ([&good[..], b"!"].concat(), ErrorCode::Malformed),
            (b"\xd2\x84".to_vec(), ErrorCode::Malformed),
            (Vec::new(), ErrorCode::Malformed),
        ] {
            let mut world = two();
            put(&mut world, GATEWAY, "p", &super::plan_2());
            let said = put(&mut world, GATEWAY, "p", &plan);
            assert_eq!(problem(&said), expected, "{:?}", said.problem().detail);
            let party = world.machine(address(1));
            assert_eq!(party.plan_revision(), Some(2));
            party.settle(Instant::from_secs(1_000));
            assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
        }
    }

    #[test]
    fn the_plan_of_a_gateway_that_is_gone_stands_in_nobodys_way() {
        let mut world = two();
        put(&mut world, GATEWAY, "p", &plan(u32::MAX, id(1), GATEWAY, &[]));
        assert_eq!(world.machine(address(1)).plan_revision(), Some(u32::MAX));
        let other = roster_with(
            2,
            &[(1, Role::Node, FAR), (GATEWAY, Role::Operator, FAR), (3, Role::Gateway, FAR)],
        );
        put(&mut world, GATEWAY, "r", &other);
        // It goes on counting until there is another.
        assert_eq!(world.machine(address(1)).plan_revision(), Some(u32::MAX));
        assert_eq!(put(&mut world, GATEWAY, "p", &plan(1, id(1), 3, &[])).code, Code::CHANGED);
        assert_eq!(world.machine(address(1)).plan_revision(), Some(1));
    }

    #[test]
    fn formats_are_looked_at() {
        let mut world = two();
        let wrong = world.machine(address(GATEWAY)).ask(peer(1), Code::PUT, "p", &super::plan_2());
        wrong.format(content_format::ROSTER);
        assert!(run(&mut world, GATEWAY, 60, |party| party.answer().is_some()));
        let said = world.machine(address(GATEWAY)).answer().unwrap();
        assert_eq!(said.code, Code::UNSUPPORTED_CONTENT_FORMAT);
    }
}

fn plan_2() -> Vec<u8> {
    plan(2, id(1), GATEWAY, &[])
}

#[test]
fn who_has_expired_is_not_believed_once_the_time_is_known() {
    let soon = roster_with(
        2,
        &[(1, Role::Node, FAR), (GATEWAY, Role::Gateway, 1_000), (3, Role::Gateway, FAR)],
    );
    let mut world = two();
    put(&mut world, GATEWAY, "r", &soon);
    world.machine(address(1)).site.set_unix_time(999);
    assert_eq!(put(&mut world, GATEWAY, "p", &plan_2()).code, Code::CHANGED);
    world.machine(address(1)).site.set_unix_time(1_000);
    let said = put(&mut world, GATEWAY, "p", &plan(3, id(1), GATEWAY, &[]));
    assert_eq!(problem(&said), ErrorCode::Untrusted);
    assert_eq!(put(&mut world, GATEWAY, "p", &plan(1, id(1), 3, &[])).code, Code::CHANGED);
}

#[test]
fn members_are_sources_as_their_role_says() {
    let party = node(1);
    let flash = party.nor.bytes();
    let source = |n| party.site.source(flash, &party.store, id(n));
    assert_eq!(source(2), Some((peer(2), 0)));
    assert_eq!(source(GATEWAY), Some((peer(GATEWAY), 1)));
    assert_eq!((source(PUBLISHER), source(77)), (None, None));
}

fn a_blob(bytes: &[u8]) -> BlobRef {
    BlobRef::of_one_chunk(bytes, 10).unwrap()
}

#[test]
fn an_adoption_without_a_credential_is_refused() {
    let mut party = Party::new(1);
    let claim = Some(party.claim());
    let adopt = Adopt { site: Bytes::new(b"none").unwrap(), roster: a_blob(b"x"), claim };
    let refused = party.site.adopt(&party.store, peer(GATEWAY), &adopt).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A delta applied in stretches is the same as one that is applied at once.
    #[test]
    fn stretches_of_a_rebuilt_roster_are_the_roster(
        old in prop::collection::btree_set(1_u8..40, 1..20),
        new in prop::collection::btree_set(1_u8..40, 1..20),
        step in 1_usize..700,
    ) {
        let make = |version, members: &BTreeSet<u8>| {
            roster(version, &members.iter().copied().collect::<Vec<_>>())
        };
        let (old, new) = (make(1, &old), make(2, &new));
        let base = Roster::from_trusted(&old).unwrap();
        let mut buf = [0; 4_096];
        let len = Delta::between(&base, &Roster::from_trusted(&new).unwrap(), &mut buf).unwrap();
        let delta = Delta::parse(&buf[..len]).unwrap();
        let rebuilt = Rebuilt::new(&buf[..len], &delta, &base).unwrap();
        prop_assert_eq!(rebuilt.len(), new.len());
        let mut out = Vec::<u8>::new();
        let mut chunk = vec![0; step];
        loop {
            let count = rebuilt.read(out.len(), &mut chunk);
            out.extend(&chunk[..count]);
            if count < step { break }
        }
        prop_assert_eq!(out, new);
    }

    /// The beginning of a document is enough, and arbitrary ones do no harm.
    #[test]
    fn beginnings_are_recognised(
        bytes in prop::collection::vec(any::<u8>(), 0..220),
        at in 0_usize..200,
        cut in 0_usize..220,
        is_plan: bool,
    ) {
        let held = roster(1, EVERYBODY);
        let known = Known {
            own: id(1),
            site: Credential::parse(&credential(SITE)).unwrap().public_key(),
            roster: Roster::from_trusted(&held).unwrap(),
            plan: None,
            unix: None,
        };
        let kind = if is_plan { Kind::Plan } else { Kind::Roster };
        let good = if is_plan { plan_2() } else { roster(2, EVERYBODY) };
        let _ = look(kind, &bytes, &known);
        let mut changed = good.clone();
        for (to, from) in changed[at.min(good.len())..].iter_mut().zip(&bytes) {
            *to = *from;
        }
        let _ = look(kind, &changed, &known);
        let start = look(kind, &good[..good.len().min(super::start::PREFIX)], &known);
        let Ok(super::start::Start::Whole { len, .. }) = start else { panic!("{start:?}") };
        prop_assert_eq!(len as usize, good.len());
        let _ = look(kind, &good[..cut.min(good.len())], &known);
    }
}
