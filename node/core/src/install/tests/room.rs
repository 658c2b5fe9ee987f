//! Who has to go when there is no room.

use super::*;

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
