//! Capsules on their way, over links and flash that fail.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod room;
mod uploads;

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
