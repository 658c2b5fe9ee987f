//! A node comes to a site.

use super::*;

fn adopt(party: &mut Party, from: u8, roster: &[u8], with_claim: bool) -> Result<(), ErrorCode> {
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
fn who_withholds_the_roster_hears_so_and_may_try_again() {
    // As it seems to a node whose proof of where it is was spoiled on its way.
    for roster in [roster(7, EVERYBODY), long_roster(7, 60)] {
        let mut world = fresh(&roster);
        world.machine(address(GATEWAY)).withholds = true;
        adopt(world.machine(address(1)), GATEWAY, &roster, true).unwrap();
        assert!(run(&mut world, 1, 10, |party| !party.site_events.is_empty()));
        let party = world.machine(address(1));
        let [Event::NotAdopted(reason)] = &party.site_events[..] else { panic!() };
        assert!(reason.retry_ms.is_some(), "{reason}");
        adopt(party, GATEWAY, &roster, true).unwrap();
        world.machine(address(GATEWAY)).withholds = false;
        assert!(run(&mut world, 1, 60, |party| party.roster_version() == Some(7)));
    }
}

#[test]
fn who_has_the_roster_no_more_is_told_at_once() {
    for more in [0, 60] {
        // The gateway was killed before the node asked, and has only the newer one.
        let (old, new) = (long_roster(7, more), long_roster(8, more));
        let mut world = fresh(&new);
        adopt(world.machine(address(1)), GATEWAY, &old, true).unwrap();
        assert!(run(&mut world, 1, 10, |party| !party.site_events.is_empty()));
        let party = world.machine(address(1));
        let [Event::NotAdopted(reason)] = &party.site_events[..] else { panic!() };
        assert!(reason.retry_ms.is_some(), "{reason}");
        adopt(party, GATEWAY, &new, true).unwrap();
        assert!(run(&mut world, 1, 10, |party| party.roster_version() == Some(8)));
    }
}

#[test]
fn who_has_another_roster_by_now_begins_anew() {
    for more in [0, 60] {
        // The gateway is killed when the node has begun to fetch, and has only the newer one.
        let (old, new) = (long_roster(7, more), long_roster(8, more));
        let mut world = fresh(&new);
        world.machine(address(GATEWAY)).is_off = true;
        adopt(world.machine(address(1)), GATEWAY, &old, true).unwrap();
        run(&mut world, 1, 10, |_| false);
        world.machine(address(GATEWAY)).is_off = false;
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
