//! Capsules on their way, over links and flash that fail.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use super::{Event, QUEUE};
use crate::flash::kinds;
use crate::flash::nor::Tear;
use crate::testing::*;
use capmesh_blob::mapping::Name;
use capmesh_coap::Code;
use capmesh_coap::test_util::Faults;
use capmesh_wire::inventory::{CapsuleState, CapsuleStatus};
use capmesh_wire::{Digest, ErrorCode, List, limits};
use proptest::prelude::*;
use std::format;
use std::string::ToString;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

fn site_roster() -> Vec<u8> {
    roster(1, &[1, 2, 3, GATEWAY, PUBLISHER, OPERATOR, REGISTRY])
}

fn node(n: u8) -> Party {
    Party::new(n).with_roster(&site_roster())
}

fn registry(capsules: &[&Made]) -> Party {
    let mut registry = node(REGISTRY);
    for made in capsules {
        registry.shelf.capsule(made);
    }
    registry
}

fn want(world: &mut World, n: u8, made: &Made, sources: &[u8]) {
    let now = world.now;
    let sources: Vec<_> = sources.iter().map(|n| peer(*n)).collect();
    world.machine(address(n)).install.want(now, &made.digest(), &sources).unwrap();
}

/// A world in which node 1 may fetch from a registry.
fn with_registry(capsules: &[&Made]) -> World {
    world(1, vec![(1, node(1)), (REGISTRY, registry(capsules))])
}

/// Node 1 wants it and is refused.
fn refusal(world: &mut World, made: &Made) -> (ErrorCode, std::string::String) {
    want(world, 1, made, &[REGISTRY]);
    let is_refused = |event: &Event| matches!(event, Event::Refused { .. });
    assert!(run(world, 1, 600, |party| party.events.iter().any(is_refused)));
    let mut events = core::mem::take(&mut world.machine(address(1)).events);
    events.retain(is_refused);
    let [Event::Refused { digest, reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*digest, made.digest());
    let state = world.machine(address(1)).install.state(digest);
    assert_eq!(state, Some((CapsuleState::Refused, Some(reason.code))));
    (reason.code, reason.detail().into())
}

/// Bytes of modules that were asked for.
fn pieces_asked(world: &World, made: &Made) -> usize {
    let name = Name::of(&made.module.digest);
    let asks = |bytes: &[u8]| bytes.windows(43).any(|part| part == name.as_str().as_bytes());
    world.sent.iter().filter(|(_, datagram)| asks(&datagram.bytes)).count()
}

#[test]
fn a_capsule_comes_from_a_registry_and_goes_on_to_a_neighbour() {
    let made = Recipe::default().make();
    let parties = vec![(1, node(1)), (2, node(2)), (REGISTRY, registry(&[&made]))];
    let mut world = world(1, parties);
    want(&mut world, 1, &made, &[REGISTRY]);
    assert!(run(&mut world, 1, 60, |party| party.is_held(&made)));
    assert_eq!(world.machine(address(1)).events, [Event::Held(made.digest())]);

    world.machines.remove(&address(REGISTRY));
    want(&mut world, 2, &made, &[1]);
    assert!(run(&mut world, 2, 60, |party| party.is_held(&made)));

    // It is there after a restart, and nothing is asked for it.
    world.machines.remove(&address(1));
    reboot(&mut world, 2);
    let party = world.machine(address(2));
    assert!(party.is_held(&made));
    assert_eq!(party.install.digests().collect::<Vec<_>>(), [made.digest()]);
    assert!(party.install.summary().is_some());
}

#[test]
fn neighbours_are_asked_before_the_registry() {
    let made = Recipe::default().make();
    let parties = vec![(1, node(1)), (2, node(2)), (REGISTRY, registry(&[&made]))];
    let mut world = world(1, parties);
    want(&mut world, 1, &made, &[REGISTRY]);
    assert!(run(&mut world, 1, 60, |party| party.is_held(&made)));
    world.sent.clear();
    want(&mut world, 2, &made, &[REGISTRY, 1]);
    assert!(run(&mut world, 2, 60, |party| party.is_held(&made)));
    let served = world.sent.iter().filter(|(_, datagram)| datagram.from == address(REGISTRY));
    // What it holds, for manifest and module; nothing of them.
    assert!(served.clone().count() <= 2, "{}", served.count());
}

#[test]
fn a_neighbour_that_dies_half_way_is_not_waited_for() {
    let made = Recipe { size: 9_000, chunk_log2: 8, ..Recipe::default() }.make();
    let parties = vec![(1, node(1)), (2, node(2)), (REGISTRY, registry(&[&made]))];
    let mut world = world(1, parties);
    want(&mut world, 2, &made, &[REGISTRY]);
    assert!(run(&mut world, 2, 60, |party| party.is_held(&made)));
    want(&mut world, 1, &made, &[2, REGISTRY]);
    let is_half = |party: &Party| {
        party.install.work.as_ref().and_then(|work| work.missing()).is_some_and(|left| left < 20)
    };
    assert!(run(&mut world, 1, 60, is_half));
    world.machines.remove(&address(2));
    let died = world.now;
    assert!(run(&mut world, 1, 60, |party| party.is_held(&made)));
    let took = world.now.saturating_since(died);
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn a_bad_link_and_slow_flash_make_it_slower_and_no_worse() {
    let delay = Duration::from_millis(5)..Duration::from_millis(300);
    for seed in 0..6 {
        let chunk_log2 = [8, 9, 10][seed as usize % 3];
        let made = Recipe { chunk_log2, size: 9_000, ..Recipe::default() }.make();
        let parties = vec![(1, node(1)), (2, node(2)), (REGISTRY, registry(&[&made]))];
        let mut world = world(seed, parties);
        world.faults = Faults { loss: 25, duplication: 15, delay: delay.clone() };
        world.machine(address(1)).latency = Duration::from_millis(30);
        want(&mut world, 1, &made, &[REGISTRY]);
        // At the same time: pieces go on while they arrive.
        want(&mut world, 2, &made, &[1, REGISTRY]);
        for n in [1, 2] {
            assert!(run(&mut world, n, 3_600, |party| party.is_held(&made)), "seed {seed}");
        }
    }
}

/// Runs a fetch whose flash loses power after so many operations; then again until it is done.
fn fetch_with_cut(after: u32, tear: Tear) -> (bool, usize) {
    let made = Recipe { size: 1_500, chunk_log2: 8, ..Recipe::default() }.make();
    let mut world = with_registry(&[&made]);
    world.machine(address(1)).cut = Some((after, tear));
    want(&mut world, 1, &made, &[REGISTRY]);
    let done = run(&mut world, 1, 60, |party| party.is_off || party.is_held(&made));
    assert!(done);
    let was_cut = world.machine(address(1)).is_off;
    reboot(&mut world, 1);
    world.sent.clear();
    want(&mut world, 1, &made, &[REGISTRY]);
    assert!(run(&mut world, 1, 120, |party| party.is_held(&made)), "{after} {tear:?}");
    let asked = pieces_asked(&world, &made);
    // Nothing is left over, whatever was there in between.
    let party = world.machine(address(1));
    let flash = party.nor.bytes();
    assert_eq!(party.store.extents(flash).count(), 1);
    assert_eq!(party.store.iter(flash, kinds::CAPSULE).count(), 1);
    (was_cut, asked)
}

#[test]
fn the_power_may_go_at_every_operation_of_a_fetch() {
    let mut asked = Vec::new();
    for after in 0.. {
        let torn =
            [Tear::Nothing, Tear::Front(5), Tear::Bits(7), Tear::Back(9)][after as usize % 4];
        fetch_with_cut(after, torn);
        let (was_cut, pieces) = fetch_with_cut(after, Tear::Everything);
        if !was_cut {
            break;
        }
        asked.push(pieces);
    }
    assert!(asked.len() >= 20, "{} operations", asked.len());
    // All seven pieces, and what there is; nothing at the end.
    assert!(asked[0] >= 8 && asked[asked.len() - 1] <= 1, "{asked:?}");
}

#[test]
fn a_liar_is_found_out_and_others_are_asked() {
    let made = Recipe::default().make();
    let mut liar = node(3);
    let mut stored = made.stored.clone();
    for at in (0..stored.len()).step_by(500) {
        stored[at] ^= 1;
    }
    liar.shelf.capsule(&made);
    liar.shelf.put(made.module.digest, made.pieces, stored);
    let parties = vec![(1, node(1)), (3, liar), (REGISTRY, registry(&[&made]))];
    let mut world = world(1, parties);
    want(&mut world, 1, &made, &[3, REGISTRY]);
    assert!(run(&mut world, 1, 600, |party| party.is_held(&made)));
}

#[test]
fn a_manifest_that_is_another_is_not_even_looked_at() {
    let (made, other) = (Recipe::default().make(), Recipe { sequence: 8, ..Recipe::default() });
    let mut liar = node(3);
    liar.shelf.document(made.digest(), other.make().envelope);
    let mut world = world(1, vec![(1, node(1)), (3, liar)]);
    want(&mut world, 1, &made, &[3]);
    assert!(run(&mut world, 1, 200, |party| !party.events.is_empty()));
    let party = world.machine(address(1));
    let [Event::Delayed { reason, .. }] = &party.events[..] else { panic!("{:?}", party.events) };
    assert_eq!(reason.code, ErrorCode::Unreachable);
    assert_eq!(party.store.iter(party.nor.bytes(), kinds::CAPSULE).count(), 0);
    let state = party.install.state(&made.digest());
    assert_eq!(state, Some((CapsuleState::Wanted, Some(ErrorCode::Unreachable))));
}

#[test]
fn pieces_that_do_not_make_the_module_are_refused_in_the_end() {
    // The publisher signs pages of other bytes than those of the digest.
    let mut made = Recipe::default().make();
    let lie = Digest::of(b"another module");
    made = Recipe::default().make_signed(made, lie);
    let mut world = with_registry(&[&made]);
    assert_eq!(refusal(&mut world, &made).0, ErrorCode::DigestMismatch);
    let party = world.machine(address(1));
    party.settle(capmesh_wire::Instant::from_secs(1_000));
    assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
}

#[test]
fn what_may_not_be_here_is_refused_before_its_module_moves() {
    let words = |recipe: Recipe| {
        let made = recipe.make();
        let mut world = with_registry(&[&made]);
        let said = refusal(&mut world, &made);
        assert_eq!(pieces_asked(&world, &made), 0);
        said
    };
    let id = |n| id(n).to_string();
    let stranger = words(Recipe { signer: 77, ..Recipe::default() });
    assert_eq!(stranger, (ErrorCode::Untrusted, format!("{} is not on the roster", id(77))));
    let gateway = words(Recipe { signer: GATEWAY, ..Recipe::default() });
    assert_eq!(gateway.0, ErrorCode::Untrusted);
    assert_eq!(gateway.1, format!("{} is a gateway, not a publisher", id(GATEWAY)));
    let hungry = words(Recipe { ram: 30_000, ..Recipe::default() });
    assert_eq!(hungry, (ErrorCode::NoRam, "it needs 30000 of 20000 bytes of RAM".into()));
    let large = words(Recipe { size: 120_000, ..Recipe::default() });
    assert_eq!(large, (ErrorCode::NoFlash, "it takes 125056 of 98304 bytes of flash".into()));
    let coarse = words(Recipe { chunk_log2: 11, ..Recipe::default() });
    assert_eq!(coarse, (ErrorCode::TooLarge, "its pieces have 2048 bytes".into()));
}

#[test]
fn the_hosts_refusal_is_told_in_its_words() {
    let made = Recipe::default().make_of(&[0; 2_000]);
    let mut world = with_registry(&[&made]);
    let said = refusal(&mut world, &made);
    assert_eq!(said, (ErrorCode::InvalidModule, "imports env.fork".into()));
    // And when it is wanted again, it is tried again.
    assert_eq!(refusal(&mut world, &made).0, ErrorCode::InvalidModule);
}

#[test]
fn there_is_no_way_back_unless_the_signed_plan_says_so() {
    let [old, new, other] = [("city/clean", 7), ("city/clean", 8), ("city/stats", 1)]
        .map(|(name, sequence)| Recipe { name, sequence, ..Recipe::default() }.make());
    let mut world = with_registry(&[&old, &new, &other]);
    for made in [&new, &other] {
        want(&mut world, 1, made, &[REGISTRY]);
        assert!(run(&mut world, 1, 60, |party| party.is_held(made)));
    }
    world.machine(address(1)).events.clear();
    let said = refusal(&mut world, &old);
    assert_eq!(said, (ErrorCode::RolledBack, "sequence 7 is older than 8".into()));

    for (revision, may) in [(1, false), (2, true)] {
        let rows = [(old.digest(), may)];
        let plan = plan(revision, id(1), GATEWAY, &rows);
        let party = world.machine(address(1));
        party.store.put(kinds::PLAN, 0, &plan).unwrap();
        want(&mut world, 1, &old, &[REGISTRY]);
        run(&mut world, 1, 60, |party| !party.events.is_empty());
        let held = world.machine(address(1)).is_held(&old);
        assert_eq!(held, may, "revision {revision}");
        world.machine(address(1)).events.clear();
    }
}

#[test]
fn who_has_expired_or_gone_signs_nothing() {
    let made = Recipe::default().make();
    let mut world = with_registry(&[&made]);
    world.machine(address(1)).site.set_unix_time(FAR);
    let said = refusal(&mut world, &made);
    assert_eq!(said, (ErrorCode::Untrusted, format!("{} has expired", id(PUBLISHER))));

    // Taken off the roster while the module is on its way, and afterwards.
    let made = Recipe { size: 20_000, ..Recipe::default() }.make();
    for late in [false, true] {
        let mut world = with_registry(&[&made]);
        want(&mut world, 1, &made, &[REGISTRY]);
        assert!(run(&mut world, 1, 60, |party| {
            let half = party.store.extents(party.nor.bytes()).next();
            if late { party.is_held(&made) } else { half.is_some() }
        }));
        let party = world.machine(address(1));
        party.events.clear();
        let without = roster(2, &[1, 2, 3, GATEWAY, OPERATOR, REGISTRY]);
        party.store.put(kinds::ROSTER, 0, &without).unwrap();
        party.settle(capmesh_wire::Instant::ZERO);
        if late {
            let party = world.machine(address(1));
            let flash = party.nor.bytes();
            let gone = party.install.untrusted(flash, &party.store, &party.site);
            assert_eq!(gone.collect::<Vec<_>>(), [made.digest()]);
        } else {
            assert!(run(&mut world, 1, 60, |party| !party.events.is_empty()));
            let party = world.machine(address(1));
            let Event::Refused { reason, .. } = &party.events[0] else {
                panic!("{:?}", party.events)
            };
            assert_eq!(reason.code, ErrorCode::Untrusted);
        }
    }
}

#[test]
fn a_full_queue_says_so_and_an_unwanted_capsule_makes_room() {
    let mut party = node(1);
    let now = capmesh_wire::Instant::ZERO;
    let digests: Vec<_> = (0..=QUEUE).map(|n| Digest::of(&[n as u8])).collect();
    for digest in &digests[..QUEUE] {
        party.install.want(now, digest, &[]).unwrap();
        party.install.want(now, digest, &[peer(2)]).unwrap();
    }
    let full = party.install.want(now, &digests[QUEUE], &[]).unwrap_err();
    assert_eq!(full.code, ErrorCode::Full);
    party.install.remove(&digests[3]).unwrap();
    party.install.want(now, &digests[QUEUE], &[]).unwrap();
    assert_eq!(party.install.state(&digests[3]), None);
}

#[test]
fn what_nobody_has_waits_for_somebody_who_has_it() {
    let made = Recipe::default().make();
    let mut world = world(1, vec![(1, node(1)), (2, node(2))]);
    want(&mut world, 1, &made, &[2]);
    // Nobody has it, and then nobody is there.
    assert!(!run(&mut world, 1, 300, |party| party.is_held(&made)));
    world.machines.remove(&address(2));
    assert!(!run(&mut world, 1, 900, |party| party.is_held(&made)));
    let delayed = world.machine(address(1)).events.len();
    assert!((5..20).contains(&delayed), "{delayed} attempts in 20 minutes");
    let mut late = node(2);
    late.shelf.capsule(&made);
    world.machines.insert(address(2), late);
    assert!(run(&mut world, 1, 600, |party| party.is_held(&made)));

    // A neighbour that was not named.
    let other = Recipe { sequence: 9, ..Recipe::default() }.make();
    world.machine(address(2)).shelf.capsule(&other);
    want(&mut world, 1, &other, &[]);
    assert!(!run(&mut world, 1, 30, |party| party.is_held(&other)));
    let now = world.now;
    world.machine(address(1)).install.neighbour(now, peer(2));
    assert!(run(&mut world, 1, 60, |party| party.is_held(&other)));
}

#[test]
fn what_nobody_has_does_not_hold_up_the_others() {
    let made = Recipe::default().make();
    let mut world = with_registry(&[&made]);
    for n in 0..5_u8 {
        let now = world.now;
        let digest = Digest::of(&[n]);
        world.machine(address(1)).install.want(now, &digest, &[peer(REGISTRY)]).unwrap();
    }
    want(&mut world, 1, &made, &[REGISTRY]);
    assert!(run(&mut world, 1, 10, |party| party.is_held(&made)));
    let delayed = |event: &Event| match event {
        Event::Delayed { reason, .. } => reason.code == ErrorCode::UnknownBlob,
        _ => false,
    };
    assert!(world.machine(address(1)).events.iter().filter(|event| delayed(event)).count() >= 5);
}

#[test]
fn what_nothing_uses_makes_room_and_what_is_used_stays() {
    // Each takes a third of flash.
    let all = ["a/a", "b/b", "c/c", "d/d", "e/e"];
    let all = all.map(|name| Recipe { name, size: 30_000, ..Recipe::default() }.make());
    let [a, b, c, d, e] = &all;
    let mut world = with_registry(&[a, b, c, d, e]);
    let used = &mut world.machine(address(1)).board.used;
    used.extend([a.digest(), c.digest()]);
    for made in [a, b, c, d] {
        want(&mut world, 1, made, &[REGISTRY]);
        assert!(run(&mut world, 1, 60, |party| party.is_held(made)));
    }
    let party = world.machine(address(1));
    assert!(party.is_held(a) && !party.is_held(b) && party.is_held(c));

    party.board.used.push(d.digest());
    assert_eq!(refusal(&mut world, e).0, ErrorCode::NoFlash);
    let party = world.machine(address(1));
    assert!(party.is_held(a) && party.is_held(c) && party.is_held(d));
}

#[test]
fn full_flash_is_told_and_what_goes_makes_room() {
    // Each takes a third of flash.
    let all = [1, 2, 3, 4].map(|sequence| {
        let name = ["a/a", "b/b", "c/c", "d/d"][sequence as usize - 1];
        Recipe { name, sequence, size: 30_000, ..Recipe::default() }.make()
    });
    let [a, b, c, d] = &all;
    let mut world = with_registry(&[a, b, c, d]);
    for made in [a, b, c] {
        want(&mut world, 1, made, &[REGISTRY]);
        assert!(run(&mut world, 1, 60, |party| party.is_held(made)));
        world.machine(address(1)).board.used.push(made.digest());
    }
    world.machine(address(1)).events.clear();
    assert_eq!(refusal(&mut world, d).0, ErrorCode::NoFlash);
    assert!(world.machine(address(1)).is_held(a));

    let party = world.machine(address(1));
    party.install.remove(&b.digest()).unwrap();
    want(&mut world, 1, d, &[REGISTRY]);
    assert!(run(&mut world, 1, 60, |party| party.is_held(d)));
    let party = world.machine(address(1));
    assert!(party.events.contains(&Event::Removed(b.digest())));
    assert!(party.is_held(a) && party.is_held(c) && !party.is_held(b));
    assert_eq!(party.install.remove(&b.digest()).unwrap_err().code, ErrorCode::UnknownCapsule);

    // Who asks for what has gone is told that it will not come back.
    let gone = format!("b/{}/0", Name::of(&b.module.digest).as_str());
    world.machine(address(REGISTRY)).ask(peer(1), Code::GET, &gone, b"");
    assert!(run(&mut world, REGISTRY, 60, |party| party.answer().is_some()));
    assert_eq!(world.machine(address(REGISTRY)).answer().unwrap().code, Code(4 << 5 | 10));
}

#[test]
fn what_was_left_half_fetched_goes_when_room_is_needed_or_after_a_while() {
    let [a, b] = [("a/a", 1), ("b/b", 2)].map(|(name, sequence)| {
        Recipe { name, sequence, size: 60_000, ..Recipe::default() }.make()
    });
    for needs_room in [true, false] {
        let mut world = with_registry(&[&a, &b]);
        want(&mut world, 1, &a, &[REGISTRY]);
        let is_half = |party: &Party| {
            let extent = party.store.extents(party.nor.bytes()).next();
            extent.is_some_and(|(id, _)| party.store.has(party.nor.bytes(), id, 3))
        };
        assert!(run(&mut world, 1, 60, is_half));
        let now = world.now;
        let party = world.machine(address(1));
        party.unwant(now, &a.digest());
        assert_eq!(party.install.state(&a.digest()), None);
        if needs_room {
            want(&mut world, 1, &b, &[REGISTRY]);
            assert!(run(&mut world, 1, 60, |party| party.is_held(&b)));
        } else {
            assert!(run(&mut world, 1, 700, |party| !is_half(party)));
        }
        let party = world.machine(address(1));
        assert!(party.events.contains(&Event::Removed(a.digest())));
    }
}

#[test]
fn there_are_no_more_capsules_than_there_may_be() {
    let all: Vec<_> = (0..14_u64)
        .map(|n| {
            let name =
                ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"][n as usize];
            Recipe { name, sequence: n, size: 400, ..Recipe::default() }.make()
        })
        .collect();
    let mut world = with_registry(&all.iter().collect::<Vec<_>>());
    world.machine(address(1)).board.used.extend(all.iter().map(|made| made.digest()));
    let mut refused = 0;
    for made in &all {
        want(&mut world, 1, made, &[REGISTRY]);
        run(&mut world, 1, 60, |party| !party.events.is_empty());
        let events = core::mem::take(&mut world.machine(address(1)).events);
        refused += usize::from(matches!(events[..], [Event::Refused { .. }, ..]));
    }
    // There are as many extents as the store has room for, and everything that is here works.
    let held = world.machine(address(1)).install.digests().count();
    assert_eq!(held + refused, all.len());
    assert!(refused > 0 && held >= 8, "{held} held");
}

mod uploads {
    use super::*;

    fn upload(world: &mut World, from: u8, bundle: &[u8]) -> Said {
        world.machine(address(from)).ask(peer(1), Code::PUT, "x", bundle);
        assert!(run(world, from, 600, |party| party.answer().is_some()));
        world.machine(address(from)).asking.take().unwrap().answer.unwrap()
    }

    fn two() -> World {
        world(1, vec![(1, node(1)), (OPERATOR, node(OPERATOR))])
    }

    fn path(made: &Made) -> std::string::String {
        format!("x/{}", Name::of(&made.digest()).as_str())
    }

    fn ask(world: &mut World, method: Code, path: &str) -> Said {
        world.machine(address(OPERATOR)).ask(peer(1), method, path, b"");
        assert!(run(world, OPERATOR, 60, |party| party.answer().is_some()));
        world.machine(address(OPERATOR)).asking.take().unwrap().answer.unwrap()
    }

    #[test]
    fn an_operator_installs_looks_and_removes_with_plain_requests() {
        let made = Recipe::default().make();
        let mut world = two();
        let said = upload(&mut world, OPERATOR, &made.bundle());
        assert_eq!(said.code, Code::CREATED);
        assert_eq!(said.location.join("/"), path(&made));
        assert!(world.machine(address(1)).is_held(&made));
        assert_eq!(world.machine(address(1)).events, [Event::Held(made.digest())]);

        let said = upload(&mut world, OPERATOR, &made.bundle());
        assert_eq!((said.code, said.location.join("/")), (Code::CHANGED, path(&made)));

        let listed = ask(&mut world, Code::GET, "x");
        let list: List<'_, CapsuleStatus<'_>, { limits::HELD }> =
            capmesh_wire::cbor::decode(&listed.payload).unwrap();
        let status = list.iter().next().unwrap();
        assert_eq!((list.len(), status.state), (1, CapsuleState::Held));
        assert_eq!((status.name.unwrap().as_str(), status.sequence), ("city/clean", Some(7)));
        assert_eq!((status.publisher, status.size), (Some(id(PUBLISHER)), Some(5_000)));
        let one = ask(&mut world, Code::GET, &path(&made));
        assert_eq!(capmesh_wire::cbor::decode(&one.payload), Ok(status));

        world.machine(address(1)).used.push(made.digest());
        let said = ask(&mut world, Code::DELETE, &path(&made));
        assert_eq!((said.code, said.problem().code), (Code::CONFLICT, ErrorCode::WrongState));
        world.machine(address(1)).used.clear();
        assert_eq!(ask(&mut world, Code::DELETE, &path(&made)).code, Code::DELETED);
        assert_eq!(ask(&mut world, Code::GET, "x").payload, [0x80]);
        assert_eq!(ask(&mut world, Code::GET, &path(&made)).code, Code::NOT_FOUND);
        let said = ask(&mut world, Code::DELETE, &path(&made));
        assert_eq!((said.code, said.problem().code), (Code::NOT_FOUND, ErrorCode::UnknownCapsule));
    }

    #[test]
    fn only_operators_and_gateways_may() {
        let made = Recipe::default().make();
        let parties =
            vec![(1, node(1)), (2, node(2)), (50, Party::new(50)), (GATEWAY, node(GATEWAY))];
        let mut world = world(1, parties);
        assert_eq!(upload(&mut world, 2, &made.bundle()).code, Code::FORBIDDEN);
        assert_eq!(upload(&mut world, 50, &made.bundle()).code, Code::UNAUTHORIZED);
        assert_eq!(upload(&mut world, GATEWAY, &made.bundle()).code, Code::CREATED);
    }

    #[test]
    fn what_is_wrong_is_refused_with_words() {
        let problem = |bundle: &[u8]| {
            let mut world = two();
            let said = upload(&mut world, OPERATOR, bundle);
            let problem = said.problem();
            assert_eq!(said.code.0, problem.code.coap_code());
            let party = world.machine(address(1));
            assert_eq!(party.install.digests().count(), 0);
            // Nothing stays behind.
            assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
            assert_eq!(party.store.iter(party.nor.bytes(), kinds::CAPSULE).count(), 0);
            let words =
                problem.detail.map_or(std::string::String::new(), |words| words.as_str().into());
            (problem.code, words)
        };
        let good = Recipe::default().make().bundle();
        assert_eq!(problem(b"nonsense").0, ErrorCode::Malformed);
        assert_eq!(problem(b"").0, ErrorCode::Malformed);
        assert_eq!(
            problem(&good[..good.len() - 1]),
            (ErrorCode::Malformed, "the bundle ends early".into())
        );
        assert_eq!(problem(&good[..100]), (ErrorCode::Malformed, "the bundle ends early".into()));
        let long = [&good[..], b"!"].concat();
        assert_eq!(problem(&long), (ErrorCode::Malformed, "bytes follow its last chunk".into()));
        let stranger = Recipe { signer: 77, ..Recipe::default() }.make().bundle();
        assert_eq!(problem(&stranger).0, ErrorCode::Untrusted);
        let hungry = Recipe { ram: 30_000, ..Recipe::default() }.make().bundle();
        assert_eq!(problem(&hungry).1, "it needs 30000 of 20000 bytes of RAM");
        let refused = Recipe::default().make_of(&[0; 2_000]).bundle();
        assert_eq!(problem(&refused), (ErrorCode::InvalidModule, "imports env.fork".into()));
        // A byte of each part: signature, manifest, pages, chunks.
        for at in [60, 200, 310, 400, 600, 1_500, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (code, words) = problem(&bad);
            let expected =
                [ErrorCode::Malformed, ErrorCode::BadSignature, ErrorCode::DigestMismatch];
            assert!(expected.contains(&code), "{at}: {code} {words}");
        }
    }

    #[test]
    fn an_older_sequence_is_refused() {
        let mut world = two();
        let made = |sequence| Recipe { sequence, ..Recipe::default() }.make();
        assert_eq!(upload(&mut world, OPERATOR, &made(8).bundle()).code, Code::CREATED);
        let said = upload(&mut world, OPERATOR, &made(7).bundle());
        assert_eq!(said.problem().code, ErrorCode::RolledBack);
        assert_eq!(upload(&mut world, OPERATOR, &made(9).bundle()).code, Code::CREATED);
        assert_eq!(world.machine(address(1)).install.digests().count(), 2);
    }

    #[test]
    fn a_bad_link_and_slow_flash_do_no_harm() {
        let delay = Duration::from_millis(5)..Duration::from_millis(200);
        for seed in 0..4 {
            let made = Recipe { size: 12_000, ..Recipe::default() }.make();
            let parties = vec![(1, node(1)), (OPERATOR, node(OPERATOR))];
            let mut world = world(seed, parties);
            world.faults = Faults { loss: 15, duplication: 15, delay: delay.clone() };
            world.machine(address(1)).latency = Duration::from_millis(40);
            assert_eq!(upload(&mut world, OPERATOR, &made.bundle()).code, Code::CREATED, "{seed}");
            assert!(world.machine(address(1)).is_held(&made));
        }
    }

    #[test]
    fn the_power_may_go_at_every_operation_of_an_upload() {
        let made = Recipe { size: 2_500, chunk_log2: 9, ..Recipe::default() }.make();
        for after in 0.. {
            let mut world = two();
            let tear = if after % 2 == 0 { Tear::Bits(after) } else { Tear::Everything };
            world.machine(address(1)).cut = Some((u32::try_from(after).unwrap(), tear));
            world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &made.bundle());
            run(&mut world, 1, 60, |party| party.is_off || party.is_held(&made));
            if !world.machine(address(1)).is_off {
                assert!(after > 15);
                break;
            }
            reboot(&mut world, 1);
            world.machines.remove(&address(OPERATOR));
            world.machines.insert(address(OPERATOR), node(OPERATOR));
            let code = upload(&mut world, OPERATOR, &made.bundle()).code;
            assert!([Code::CREATED, Code::CHANGED].contains(&code), "{after}: {code:?}");
            let party = world.machine(address(1));
            assert!(party.is_held(&made));
            assert_eq!(party.store.extents(party.nor.bytes()).count(), 1);
        }
    }

    #[test]
    fn bundles_that_are_refused_half_way_leave_room_for_others() {
        let refused = Recipe { signer: 77, size: 5_000, ..Recipe::default() }.make();
        let mut world = two();
        // As if from as many operators: each is a body of its own to the server, which has two places.
        for tag in 0..5 {
            let asking =
                world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &refused.bundle());
            asking.query = Some(format!("t={tag}"));
            assert!(run(&mut world, OPERATOR, 10, |party| party.answer().is_some()));
            let said = world.machine(address(OPERATOR)).asking.take().unwrap().answer.unwrap();
            assert_eq!(said.problem().code, ErrorCode::Untrusted, "{tag}");
        }
        let taken = upload(&mut world, OPERATOR, &Recipe::default().make().bundle());
        assert_eq!(taken.code, Code::CREATED);
    }

    #[test]
    fn an_operator_waits_for_no_fetch_and_the_fetch_goes_on() {
        let fetched = Recipe { name: "a/a", size: 20_000, ..Recipe::default() }.make();
        let brought = Recipe::default().make();
        let parties =
            vec![(1, node(1)), (OPERATOR, node(OPERATOR)), (REGISTRY, registry(&[&fetched]))];
        let mut world = world(1, parties);
        want(&mut world, 1, &fetched, &[REGISTRY]);
        let is_half = |party: &Party| party.store.extents(party.nor.bytes()).next().is_some();
        assert!(run(&mut world, 1, 60, is_half));
        assert_eq!(upload(&mut world, OPERATOR, &brought.bundle()).code, Code::CREATED);
        assert!(run(&mut world, 1, 60, |party| party.is_held(&fetched)));
    }

    #[test]
    fn two_who_bring_capsules_take_turns_and_one_who_stops_is_forgotten() {
        let made = Recipe::default().make();
        let parties = vec![(1, node(1)), (OPERATOR, node(OPERATOR)), (GATEWAY, node(GATEWAY))];
        let mut world = world(1, parties);
        world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &made.bundle());
        assert!(run(&mut world, 1, 60, |party| party.install.work.is_some()));
        // It goes away in the middle.
        world.machines.remove(&address(OPERATOR));
        let said = upload(&mut world, GATEWAY, &made.bundle());
        assert_eq!((said.code, said.problem().code), (Code::SERVICE_UNAVAILABLE, ErrorCode::Busy));
        assert!(said.problem().retry_ms.is_some());
        assert!(run(&mut world, 1, 100, |party| party.install.work.is_none()));
        assert_eq!(upload(&mut world, GATEWAY, &made.bundle()).code, Code::CREATED);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Losses, slow flash and power cuts in any mixture: what is held in the end is what was signed.
    #[test]
    fn whatever_happens_it_arrives(
        seed: u64,
        size in 1_usize..14_000,
        chunk_log2 in 8_u8..=10,
        loss in 0_u8..30,
        latency in 0_u64..50,
        cuts in prop::collection::vec((0_u32..80, any::<u64>()), 0..4),
    ) {
        let made = Recipe { size, chunk_log2, ..Recipe::default() }.make();
        prop_assume!(made.content()[0] != 0);
        let mut world = world(seed, vec![(1, node(1)), (REGISTRY, registry(&[&made]))]);
        let delay = Duration::from_millis(1)..Duration::from_millis(150);
        world.faults = Faults { loss, duplication: 10, delay };
        for (after, tear) in cuts {
            let party = world.machine(address(1));
            party.latency = Duration::from_millis(latency);
            party.cut = Some((after, Tear::Bits(tear)));
            want(&mut world, 1, &made, &[REGISTRY]);
            run(&mut world, 1, 3_600, |party| party.is_off || party.is_held(&made));
            reboot(&mut world, 1);
        }
        want(&mut world, 1, &made, &[REGISTRY]);
        prop_assert!(run(&mut world, 1, 7_200, |party| party.is_held(&made)));
    }
}
