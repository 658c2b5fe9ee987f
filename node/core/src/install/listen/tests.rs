//! Listeners, and speakers that they hear.
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use super::*;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store, lay_out};
use capmesh_transfer::said::{Config, Heard, Rank, Speaker, read};
use capmesh_wire::BlobRef;
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(5);
const SIZE: usize = 32 << 10;
const MANY: Company = Company { others: 49, is_first: false, is_lively: true };

struct Whole {
    blob: BlobRef,
    geometry: Geometry,
    stored: Vec<u8>,
}

impl Whole {
    fn new() -> Self {
        let mut stored: Vec<u8> = (0..SIZE).map(|at| (at * at % 251) as u8).collect();
        let geometry = Geometry::new(SIZE as u32, 10).unwrap();
        stored.resize(geometry.stored_size() as usize, 0);
        let blob = lay_out(&mut stored, SIZE as u32, 10).unwrap();
        Self { blob, geometry, stored }
    }

    fn piece(&self, piece: u16) -> &[u8] {
        let at = self.geometry.offset(piece) as usize;
        &self.stored[at..at + usize::from(self.geometry.len(piece))]
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.blob.digest, &self.blob.root)
    }

    fn listener(&self, company: Company, seed: u64) -> Listener {
        let of = (&self.blob.digest, &self.blob.root, self.geometry.chunks());
        let mut listener = Listener::new(NOW, of, company, seed);
        listener.want(0..8);
        listener
    }

    /// The datagrams with all parts of a piece.
    fn said(&self, piece: u16) -> Vec<Vec<u8>> {
        let mut speaker = Speaker::new(Config::radio(Rank::Registry), 7);
        let lacks = Lack { piece, parts: u8::MAX }.to_bytes();
        speaker.ask(NOW, &self.blob.digest, &lacks, self, &mut [0; PIECE]).unwrap();
        let (mut said, mut buf) = (Vec::new(), [0; 128]);
        while let Some(at) = speaker.poll_timeout() {
            if let Some(len) = speaker.poll(at, self, &mut [0; PIECE], &mut buf) {
                said.push(buf[..len].to_vec());
            }
        }
        said
    }

    /// Has a listener hear a request of somebody else.
    fn ask(&self, listener: &mut Listener, now: Instant, piece: u16) {
        let mut buf = [0; 128];
        let len = write_ask(&self.keys(), &[Lack { piece, parts: 3 }], [9; 8], 1, &mut buf);
        let Some(Heard::Ask(ask)) = read(&buf[..len.unwrap()]) else { panic!() };
        listener.heard_ask(now, &ask);
    }
}

impl Store for Whole {
    fn held(&self, _: &Digest) -> Held {
        Held::Whole(self.geometry)
    }

    fn has(&self, _: &Digest, _: u16) -> bool {
        true
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        buf.copy_from_slice(&self.stored[offset as usize..][..buf.len()]);
        Ok(())
    }
}

fn hear(listener: &mut Listener, now: Instant, datagram: &[u8]) {
    let Some(Heard::Part(part)) = read(datagram) else { panic!() };
    listener.heard_part(now, &part);
}

/// What it says next, and when.
fn next(listener: &mut Listener, buf: &mut [u8]) -> (Instant, Say) {
    let at = listener.poll_timeout().unwrap();
    (at, listener.poll(at, 1, buf).unwrap())
}

/// What it asks all for next, and when.
fn asks(listener: &mut Listener, keys: &Keys) -> (Instant, Vec<(u16, u8)>) {
    let mut buf = [0; 128];
    let (at, Say::ToAll(len)) = next(listener, &mut buf) else { panic!() };
    let Some(Heard::Ask(ask)) = read(&buf[..len]) else { panic!() };
    let mut room = [0; 64];
    let lacks = Lack::parse(keys.open_ask(&ask, &mut room).unwrap()).unwrap();
    (at, lacks.map(|lack| (lack.piece, lack.parts)).collect())
}

#[test]
fn parts_become_pieces_in_whatever_order_they_come() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    let said = store.said(2);
    assert_eq!(said.len(), 15);
    for datagram in said.iter().rev() {
        assert_eq!(listener.whole(), None);
        hear(&mut listener, NOW, datagram);
        // What comes twice changes nothing.
        hear(&mut listener, NOW, datagram);
    }
    assert_eq!(listener.whole(), Some((2, store.piece(2))));
    listener.forget(2);
    assert_eq!(listener.whole(), None);
    // It is not waited for any more.
    said.iter().for_each(|datagram| hear(&mut listener, NOW, datagram));
    assert_eq!(listener.whole(), None);
}

#[test]
fn what_is_lacking_is_asked_for_when_it_is_quiet_and_some_more_for_others() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    for piece in 0..4 {
        let said = store.said(piece);
        said.iter().skip(usize::from(piece)).for_each(|it| hear(&mut listener, NOW, it));
    }
    let (at, lacks) = asks(&mut listener, &store.keys());
    assert!(at >= NOW + SILENCE && at < NOW + SILENCE + GO_ON, "{at:?}");
    // The first is whole, and those that were not said wait for the others.
    let margin = MANY.margin();
    assert_eq!(lacks, [(1, 1 + margin), (2, 2 + margin), (3, 3 + margin)]);
    // Who lacks nothing goes on, later than whoever lacks something.
    let mut further = store.listener(MANY, 2);
    for piece in 0..4 {
        store.said(piece).iter().for_each(|it| hear(&mut further, NOW, it));
        further.forget(piece);
    }
    let (later, lacks) = asks(&mut further, &store.keys());
    assert!(later > at);
    assert_eq!(lacks.iter().map(|(piece, _)| *piece).collect::<Vec<_>>(), [4, 5, 6, 7]);
}

#[test]
fn who_hears_another_one_ask_waits_for_the_answer() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    hear(&mut listener, NOW, &store.said(0)[0]);
    let before = listener.poll_timeout().unwrap();
    store.ask(&mut listener, NOW, 0);
    let after = listener.poll_timeout().unwrap();
    assert!(after >= NOW + ANSWER && after > before);
    assert_eq!(listener.poll(before, 1, &mut [0; 128]), None);
    // The answer comes: it waits for its end only.
    hear(&mut listener, NOW, &store.said(0)[1]);
    assert!(listener.poll_timeout().unwrap() < after);
}

#[test]
fn the_first_asks_in_a_session_and_the_others_wait_for_that() {
    let store = Whole::new();
    let alone = Company { others: 1, is_first: false, is_lively: false };
    let mut listener = store.listener(alone, 1);
    assert!(!listener.is_first());
    assert_eq!(next(&mut listener, &mut [0; 128]).1, Say::InSession(0));
    assert!(listener.is_first());
    // Who has begun the blob before does so at once, whatever others say.
    let mut first = store.listener(Company { is_first: true, ..MANY }, 1);
    let at = first.poll_timeout().unwrap();
    store.ask(&mut first, NOW, 0);
    assert_eq!(first.poll_timeout(), Some(at));
    assert_eq!(next(&mut first, &mut [0; 128]).1, Say::InSession(0));
}

#[test]
fn where_nobody_speaks_it_is_fetched_after_three_sessions() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    let mut said = Vec::new();
    while said.last() != Some(&Say::GiveUp) {
        said.push(next(&mut listener, &mut [0; 128]).1);
        assert!(said.len() < 20, "{said:?}");
    }
    let sessions: Vec<_> = said.iter().filter(|say| matches!(say, Say::InSession(_))).collect();
    assert_eq!(sessions, [&Say::InSession(0), &Say::InSession(1), &Say::InSession(2)]);
    assert!(matches!(said.first(), Some(Say::ToAll(_))), "others may have begun");
}

#[test]
fn a_part_that_is_heard_renews_its_patience() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    let said = store.said(0);
    for datagram in said.iter().take(10) {
        while !matches!(next(&mut listener, &mut [0; 128]).1, Say::InSession(_)) {}
        let now = listener.poll_timeout().unwrap();
        hear(&mut listener, now, datagram);
    }
    assert!(!matches!(next(&mut listener, &mut [0; 128]).1, Say::GiveUp));
}

#[test]
fn who_is_refused_leaves_others_time_unless_the_other_one_never_speaks() {
    let store = Whole::new();
    let lonely = Company { is_lively: false, ..MANY };
    let mut listener = store.listener(lonely, 1);
    let (at, say) = next(&mut listener, &mut [0; 128]);
    assert_eq!(say, Say::InSession(0));
    listener.refused(at, true);
    assert!(!listener.is_first());
    assert_eq!(next(&mut listener, &mut [0; 128]), (at, Say::InSession(1)));
    // The one who was asked does not have it: a node that has heard of a plan before its registry, say.
    listener.refused(at, false);
    let (later, say) = next(&mut listener, &mut [0; 128]);
    assert!(later >= at + SESSION);
    assert_eq!(say, Say::InSession(2));
    // Somebody has it said meanwhile: nobody need be asked in a session.
    listener.refused(later, false);
    hear(&mut listener, later, &store.said(0)[0]);
    assert!(matches!(next(&mut listener, &mut [0; 128]).1, Say::ToAll(_)));
}

#[test]
fn who_comes_late_goes_on_with_the_others() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    // Somewhat behind is not late.
    hear(&mut listener, NOW, &store.said(7)[0]);
    assert_eq!(listener.take_ahead(), None);
    hear(&mut listener, NOW, &store.said(20)[0]);
    assert_eq!((listener.take_ahead(), listener.take_ahead()), (Some(20), None));
    // Requests tell it, too.
    let mut other = store.listener(MANY, 1);
    store.ask(&mut other, NOW, 12);
    assert_eq!(other.take_ahead(), Some(12));
    // A page is not further than chunks.
    hear(&mut other, NOW, &store.said(32)[0]);
    assert_eq!(other.take_ahead(), None);
}

#[test]
fn no_more_pieces_are_put_together_than_there_is_room_for() {
    let store = Whole::new();
    let mut listener = store.listener(MANY, 1);
    listener.want(0..30);
    (0..30).for_each(|piece| hear(&mut listener, NOW, &store.said(piece)[0]));
    assert_eq!(listener.pieces.len(), WINDOW);
    listener.want([3, 9].into_iter());
    let left: Vec<_> = listener.pieces.iter().map(|piece| piece.number).collect();
    assert_eq!(left, [3, 9]);
}

proptest! {
    /// Whatever is on the air, nobody falls over it, and nothing becomes a piece that was not said.
    #[test]
    fn garbage_does_no_harm(datagrams in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..120), 1..40,
    ), seed in any::<u64>()) {
        let store = Whole::new();
        let mut listener = store.listener(MANY, seed);
        let tag = store.keys().tag();
        for bytes in &datagrams {
            let mut forged = [&[0x50, 2, 0, 1, 0xb1, b'd', 0xff][..], &tag, bytes].concat();
            for code in [2, 5] {
                forged[1] = code;
                match read(&forged) {
                    Some(Heard::Part(part)) => listener.heard_part(NOW, &part),
                    Some(Heard::Ask(ask)) => listener.heard_ask(NOW, &ask),
                    None => {}
                }
            }
        }
        prop_assert!(!listener.is_heard);
        prop_assert_eq!(listener.whole(), None);
        prop_assert_eq!(listener.take_ahead(), None);
    }
}
