//! Speakers, and those who hear them.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use super::*;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store, lay_out};
use capmesh_wire::said::{Ask, Lack, Part};
use capmesh_wire::{BlobRef, Digest, Instant, limits};
use std::vec::Vec;
use std::{format, vec};

const NOW: Instant = Instant::from_secs(5);
const DATAGRAM: usize = 94;

struct Whole {
    blob: BlobRef,
    geometry: Geometry,
    stored: Vec<u8>,
}

impl Whole {
    fn new(size: usize) -> Self {
        let mut stored: Vec<u8> = (0..size).map(|at| (at * at % 251) as u8).collect();
        let geometry = Geometry::new(size as u32, 10).unwrap();
        stored.resize(geometry.stored_size() as usize, 0);
        let blob = lay_out(&mut stored, size as u32, 10).unwrap();
        Self { blob, geometry, stored }
    }

    fn piece(&self, piece: u16) -> &[u8] {
        let at = self.geometry.offset(piece) as usize;
        &self.stored[at..at + usize::from(self.geometry.len(piece))]
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.blob.digest, &self.blob.root)
    }
}

impl Store for Whole {
    fn held(&self, digest: &Digest) -> Held {
        if *digest == self.blob.digest { Held::Whole(self.geometry) } else { Held::Nothing }
    }

    fn has(&self, digest: &Digest, _: u16) -> bool {
        *digest == self.blob.digest
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        buf.copy_from_slice(&self.stored[offset as usize..][..buf.len()]);
        Ok(())
    }
}

fn lacks(lacks: &[(u16, u8)]) -> Vec<u8> {
    lacks
        .iter()
        .flat_map(|(piece, parts)| Lack { piece: *piece, parts: *parts }.to_bytes())
        .collect()
}

fn registry() -> Speaker {
    Speaker::new(Config::radio(Rank::Registry), 7)
}

/// Everything that it says from now on, and when.
fn all(speaker: &mut Speaker, store: &Whole) -> Vec<(Instant, Vec<u8>)> {
    let (mut said, mut buf) = (Vec::new(), [0; 1_280]);
    while let Some(at) = speaker.poll_timeout() {
        if let Some(len) = speaker.poll(at, store, &mut [0; PIECE], &mut buf) {
            said.push((at, buf[..len].to_vec()));
        }
    }
    said
}

fn part(datagram: &[u8]) -> Part<'_> {
    match read(datagram) {
        Some(Heard::Part(part)) => part,
        other => panic!("{other:?}"),
    }
}

/// The request as it is heard.
fn ask_of(keys: &Keys, wanted: &[(u16, u8)], salt: u8, buf: &mut [u8]) -> usize {
    let lacks: Vec<_> =
        wanted.iter().map(|(piece, parts)| Lack { piece: *piece, parts: *parts }).collect();
    write_ask(keys, &lacks, [salt; 8], 1, buf).unwrap()
}

fn hear(speaker: &mut Speaker, now: Instant, store: &Whole, wanted: &[(u16, u8)]) -> bool {
    let mut buf = [0; 128];
    let len = ask_of(&store.keys(), wanted, 3, &mut buf);
    let Some(Heard::Ask(ask)) = read(&buf[..len]) else { panic!() };
    speaker.heard_ask(now, &ask, store)
}

#[test]
fn a_piece_is_said_in_frames_and_put_together() {
    let (store, mut speaker) = (Whole::new(3_000), registry());
    let asked = lacks(&[(1, u8::MAX)]);
    speaker.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
    let said = all(&mut speaker, &store);
    assert_eq!(said.len(), 15);
    let mut parts = Parts::new(15, 69);
    let mut bytes = vec![0; parts.room()];
    for (_, datagram) in &said {
        assert!(datagram.len() <= DATAGRAM);
        let (part, mut room) = (part(datagram), [0; 100]);
        let text = store.keys().open_part(&part, &mut room).unwrap();
        assert!(parts.keep(part.number, text, &mut bytes));
    }
    assert_eq!(parts.solve(&mut bytes), Some(store.piece(1)));
    let pace = Config::radio(Rank::Registry).pace;
    assert!(said.windows(2).all(|two| two[1].0 >= two[0].0 + pace));
}

#[test]
fn what_was_said_is_the_same_whoever_says_it() {
    let store = Whole::new(3_000);
    let say = |seed| {
        let mut speaker = Speaker::new(Config::radio(Rank::Registry), seed);
        let asked = lacks(&[(0, u8::MAX)]);
        speaker.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
        all(&mut speaker, &store).into_iter().map(|(_, datagram)| datagram[4..].to_vec()).collect()
    };
    let [first, second]: [Vec<_>; 2] = [say(1), say(2)];
    assert_eq!(first, second);
}

#[test]
fn who_does_not_know_the_digests_hears_nothing_and_is_not_heard() {
    let (store, mut speaker) = (Whole::new(3_000), registry());
    let stranger = Keys::new(&store.blob.digest, &Digest::of(b"a guess"));
    let asked = lacks(&[(0, 1)]);
    speaker.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
    let said = all(&mut speaker, &store);
    let heard = part(&said[0].1);
    assert_eq!(stranger.open_part(&heard, &mut [0; 100]), None);
    // With the right name on the air, which anybody hears.
    let mut buf = [0; 128];
    let len = ask_of(&stranger, &[(0, 15)], 1, &mut buf);
    let Some(Heard::Ask(ask)) = read(&buf[..len]) else { panic!() };
    assert!(!speaker.heard_ask(NOW, &Ask { blob: store.keys().tag(), ..ask }, &store));
    assert!(!speaker.heard_ask(NOW, &ask, &store));
    assert_eq!(speaker.poll_timeout(), None);
    // A part that was changed on the way.
    let mut changed = said[0].1.clone();
    for at in 7..changed.len() {
        changed[at] ^= 1;
        if let Some(Heard::Part(part)) = read(&changed) {
            assert_eq!(store.keys().open_part(&part, &mut [0; 100]), None, "{at}");
        }
        changed[at] ^= 1;
    }
}

#[test]
fn what_was_said_before_is_left_to_nodes() {
    let (store, mut speaker) = (Whole::new(3_000), registry());
    let asked = lacks(&[(0, u8::MAX)]);
    speaker.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
    let first = all(&mut speaker, &store);
    let end = first.last().unwrap().0;
    assert!(hear(&mut speaker, end, &store, &[(0, 3)]));
    // A node says one of three: the registry leaves the rest to it, too.
    let mut node = Speaker::new(Config::radio(Rank::Node), 3);
    node.keep_up(end, &store.blob.digest, &store.blob.root, 4);
    assert!(hear(&mut node, end, &store, &[(0, 3)]));
    let said = all(&mut node, &store);
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(|(_, datagram)| part(datagram).number >= 15));
    speaker.heard_part(said[0].0, &part(&said[0].1));
    assert_eq!(all(&mut speaker, &store), []);
    // Nobody says it: the registry does, later than any node.
    assert!(hear(&mut speaker, end, &store, &[(0, 3)]));
    let again = all(&mut speaker, &store);
    assert_eq!(again.len(), 3);
    assert!(again[0].0 > said[0].0);
}

#[test]
fn of_two_hundred_who_have_it_few_speak() {
    let store = Whole::new(3_000);
    let mut nodes: Vec<_> =
        (1..=200_u64).map(|n| Speaker::new(Config::radio(Rank::Node), n << 40 ^ n)).collect();
    for node in &mut nodes {
        node.set_others(199);
        node.keep_up(NOW, &store.blob.digest, &store.blob.root, 4);
        assert!(hear(node, NOW, &store, &[(0, 1), (1, 1)]));
    }
    // What is said takes the air for six milliseconds, one after the other, and is then heard by all.
    let (mut said, mut waits, mut free) = (0, std::collections::VecDeque::new(), NOW);
    let wants = |node: &Speaker| node.poll_timeout();
    while let Some(now) = nodes.iter().filter_map(wants).min() {
        if let Some((at, datagram)) =
            waits.pop_front_if(|(at, _): &mut (Instant, Vec<u8>)| *at <= now)
        {
            for node in &mut nodes {
                node.heard_part(at, &part(&datagram));
                node.give_way(at);
            }
            continue;
        }
        let mut buf = [0; 128];
        for node in nodes.iter_mut().filter(|node| wants(node).is_some_and(|at| at <= now)) {
            if let Some(len) = node.poll(now, &store, &mut [0; PIECE], &mut buf) {
                free = free.max(now) + core::time::Duration::from_millis(6);
                waits.push_back((free, buf[..len].to_vec()));
                said += 1;
            }
        }
    }
    assert!((2..=16).contains(&said), "{said}");
}

#[test]
fn one_of_a_crowd_waits_until_the_air_is_free() {
    let (store, mut node) = (Whole::new(3_000), Speaker::new(Config::radio(Rank::Node), 3));
    node.set_others(199);
    node.keep_up(NOW, &store.blob.digest, &store.blob.root, 4);
    assert!(hear(&mut node, NOW, &store, &[(0, 1)]));
    // A registry says something else, for half a second.
    let pace = Config::radio(Rank::Registry).pace;
    let mut now = NOW;
    while now < NOW + core::time::Duration::from_millis(500) {
        node.give_way(now);
        now += pace;
        assert_eq!(node.poll(now, &store, &mut [0; PIECE], &mut [0; 128]), None);
    }
    let said = all(&mut node, &store);
    assert_eq!(said.len(), 1);
    assert!(said[0].0 < now + core::time::Duration::from_millis(1_220));
    // A registry waits for nobody.
    let mut registry = registry();
    let asked = lacks(&[(0, 1)]);
    registry.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
    registry.give_way(NOW);
    assert_eq!(registry.poll_timeout(), Some(NOW));
}

#[test]
fn nobody_speaks_without_bounds() {
    let (store, mut speaker) = (Whole::new(20_000), registry());
    // Nobody has asked in a session.
    assert!(!hear(&mut speaker, NOW, &store, &[(0, 15)]));
    let digest = store.blob.digest;
    let asked = lacks(&[(0, 1)]);
    speaker.ask(NOW, &digest, &asked, &store, &mut [0; PIECE]).unwrap();
    // Requests that are repeated for ever are answered until the time is over.
    let (mut now, mut said) = (NOW, 0);
    while hear(&mut speaker, now, &store, &[(0, 200), (1, 255), (70, 9)]) {
        let all = all(&mut speaker, &store);
        said += all.len();
        assert!(all.len() <= 2 * limits::PARTS);
        now = all.last().map_or(now, |(at, _)| *at).max(now + core::time::Duration::from_millis(1));
        assert!(now < NOW + core::time::Duration::from_secs(60), "{said}");
        speaker.poll(now, &store, &mut [0; PIECE], &mut [0; 128]);
    }
    let wrong = |speaker: &mut Speaker, lacks: &[u8]| {
        speaker.ask(NOW, &digest, lacks, &store, &mut [0; PIECE])
    };
    assert_eq!(wrong(&mut speaker, &[]), Err(Refused::Malformed));
    assert_eq!(wrong(&mut speaker, &[0; 100]), Err(Refused::Malformed));
    let unknown = speaker.ask(NOW, &Digest::of(b"?"), &asked, &store, &mut [0; PIECE]);
    assert_eq!(unknown, Err(Refused::NotFound));
}

proptest::proptest! {
    /// Whatever is on the air, nobody falls over it.
    #[test]
    fn garbage_does_no_harm(datagrams in proptest::collection::vec(
        proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120), 1..40,
    )) {
        let (store, mut speaker) = (Whole::new(3_000), registry());
        let asked = lacks(&[(0, 2)]);
        speaker.ask(NOW, &store.blob.digest, &asked, &store, &mut [0; PIECE]).unwrap();
        for bytes in &datagrams {
            // As it is, and as a part and a request of this blob.
            let tag = store.keys().tag();
            let mut forged = [&[0x50, 2, 0, 1, 0xb1, b'd', 0xff][..], &tag, bytes].concat();
            for code in [2, 5] {
                forged[1] = code;
                for heard in [read(bytes), read(&forged)].into_iter().flatten() {
                    match heard {
                        Heard::Part(part) => speaker.heard_part(NOW, &part),
                        Heard::Ask(ask) => assert!(!speaker.heard_ask(NOW, &ask, &store), "{}", format!("{ask:?}")),
                    }
                }
            }
        }
        assert_eq!(all(&mut speaker, &store).len(), 2);
    }
}
