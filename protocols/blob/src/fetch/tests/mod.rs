//! One machine, driven by hand. Whole runs in virtual time are in [`world`].

mod any_input;
mod silent;
mod world;

use super::*;
use crate::testing::{Stored, noise};
use std::collections::BTreeSet;
use std::vec::Vec;

/// Blobs of up to 64 pieces of 256 bytes.
type Small = Fetch<u8, 2, 3, 4, 256, 2>;

fn config() -> Config {
    Config { request_timeout: Duration::from_secs(4), ..Config::default() }
}

use core::time::Duration;

const T: Instant = Instant::from_secs(100);

fn secs(seconds: u64) -> Instant {
    T + Duration::from_secs(seconds)
}

/// A machine, what it fetches, and where it writes.
struct Bench {
    fetch: Small,
    stored: Stored,
    flash: Vec<u8>,
    now: Instant,
}

/// An output that is not about storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Ask(u8, u16, u16),
    Cancel(u8, u16),
    Dropped(u8, DropReason),
    Stalled(u16),
    Done,
    Failed(Failure),
}

impl Bench {
    fn new(size: usize) -> Self {
        let stored = Stored::new(&noise(size, 3), 8);
        let fetch = Small::new(T, config(), &stored.blob, 1).unwrap();
        Self { fetch, flash: vec![0; stored.bytes.len()], stored, now: T }
    }

    fn peer_up(&mut self, peer: u8, rank: u8, holdings: Holdings) {
        self.handle(Input::PeerUp { peer, rank, holdings });
    }

    fn handle(&mut self, input: Input<'_, u8>) {
        self.fetch.handle(self.now, input);
    }

    /// Every output until there is none, with storage that does at once what it is asked.
    fn outputs(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(output) = self.fetch.poll(self.now) {
            match output {
                Output::Write { piece, offset, bytes } => {
                    assert_eq!(bytes, self.stored.piece(piece));
                    self.flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                    self.fetch.handle(self.now, Input::Written { piece });
                }
                Output::Read { offset, len } => {
                    let bytes = &self.flash[offset as usize..][..usize::from(len)];
                    self.fetch.handle(self.now, Input::Read { offset, bytes });
                }
                Output::Request { peer, piece, offset } => {
                    seen.push(Seen::Ask(peer, piece, offset));
                }
                Output::Cancel { peer, piece } => seen.push(Seen::Cancel(peer, piece)),
                Output::Dropped { peer, reason } => seen.push(Seen::Dropped(peer, reason)),
                Output::Stalled { missing } => seen.push(Seen::Stalled(missing)),
                Output::Done => seen.push(Seen::Done),
                Output::Failed(failure) => seen.push(Seen::Failed(failure)),
            }
        }
        seen
    }

    fn answer(&mut self, peer: u8, piece: u16) {
        let bytes = self.stored.piece(piece).to_vec();
        self.handle(Input::Part { peer, piece, offset: 0, bytes: &bytes, last: true });
    }

    fn refuse(&mut self, peer: u8, piece: u16, refusal: Refusal) {
        self.handle(Input::Refused { peer, piece, refusal });
    }

    /// Answers every request, one after the other, until there is none. Every output, in order.
    fn run(&mut self) -> Vec<Seen> {
        let mut log = self.outputs();
        let mut answered = 0;
        while let Some(event) = log.get(answered) {
            if let Seen::Ask(peer, piece, 0) = *event {
                self.answer(peer, piece);
                log.extend(self.outputs());
            }
            answered += 1;
        }
        log
    }

    /// Polls at the next time that the machine names.
    fn wait(&mut self) -> Vec<Seen> {
        self.now = self.fetch.poll_timeout().unwrap();
        self.outputs()
    }

    fn reboot(&mut self, trust: Trust) {
        let have: Vec<_> = self.fetch.have().iter().collect();
        self.fetch =
            Small::new(self.now, config(), &self.stored.blob, 1).unwrap().resume(have, trust);
    }
}

fn asked(seen: &[Seen]) -> Vec<u16> {
    seen.iter()
        .filter_map(|event| match event {
            Seen::Ask(_, piece, _) => Some(*piece),
            _ => None,
        })
        .collect()
}

#[test]
fn pages_come_before_what_they_vouch_for_and_each_piece_once() {
    let mut bench = Bench::new(5000);
    bench.peer_up(1, 0, Holdings::Whole);
    let log = bench.run();
    let pieces = asked(&log);
    assert_eq!(bench.stored.geometry.levels(), 3);
    assert_eq!(pieces[0], 23);
    assert_eq!(pieces[1..4].iter().copied().collect::<BTreeSet<_>>(), (20..23).collect());
    assert_eq!(pieces[4..].iter().copied().collect::<BTreeSet<_>>(), (0..20).collect());
    assert_eq!(pieces.len(), 24);
    assert_eq!(log.last(), Some(&Seen::Done));
    assert!(bench.stored.is_in(&bench.flash));
    assert_eq!(bench.fetch.poll_timeout(), None);
    assert_eq!(bench.fetch.missing(), 0);
}

#[test]
fn an_empty_blob_is_done_at_once_and_one_chunk_needs_one_request() {
    assert_eq!(Bench::new(0).outputs(), [Seen::Done]);
    let mut bench = Bench::new(256);
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.run(), [Seen::Ask(1, 0, 0), Seen::Done]);
}

#[test]
fn what_does_not_fit_the_bounds_is_not_begun() {
    let start = |size: usize, log2| {
        let blob = Stored::new(&noise(size, 1), log2).blob;
        Small::new(T, config(), &blob, 1).map(|_| ()).unwrap_err()
    };
    assert_eq!(start(10, 9), StartError::ChunkSize);
    assert_eq!(start(60 * 256, 8), StartError::TooLarge);
    let mut blob = Stored::new(b"abc", 8).blob;
    blob.root = Digest::of(b"abd");
    assert_eq!(
        Small::new(T, config(), &blob, 1).map(|_| ()).unwrap_err(),
        StartError::Inconsistent
    );
    blob.chunk_log2 = 200;
    assert_eq!(Small::new(T, config(), &blob, 1).map(|_| ()).unwrap_err(), StartError::ChunkSize);
}

#[test]
fn a_peer_whose_holdings_are_unknown_is_asked_for_them_first() {
    let mut bench = Bench::new(700);
    bench.peer_up(1, 0, Holdings::Unknown);
    assert_eq!(bench.outputs(), [Seen::Ask(1, HOLDINGS, 0)]);
    bench.handle(Input::Part {
        peer: 1,
        piece: HOLDINGS,
        offset: 0,
        bytes: &[0b0101_0000],
        last: true,
    });
    assert_eq!(bench.run(), [Seen::Ask(1, 3, 0), Seen::Ask(1, 1, 0), Seen::Stalled(2)]);
    // It is asked again after a while, and says that it has everything now.
    assert_eq!(bench.wait(), [Seen::Ask(1, HOLDINGS, 0)]);
    assert_eq!(bench.now, T + config().refresh);
    bench.handle(Input::Part { peer: 1, piece: HOLDINGS, offset: 0, bytes: &[], last: true });
    assert_eq!(bench.run().last(), Some(&Seen::Done));
}

#[test]
fn holdings_may_come_in_parts_and_end_where_the_blob_does() {
    let mut fetch: Fetch<u8, 34, 2, 4, 256> =
        Fetch::new(T, config(), &Stored::new(&noise(200_000, 1), 8).blob, 1).unwrap();
    fetch.handle(T, Input::PeerUp { peer: 1, rank: 0, holdings: Holdings::Unknown });
    let mut offset = 0;
    loop {
        let mut next = None;
        while let Some(output) = fetch.poll(T) {
            match output {
                Output::Request { piece: HOLDINGS, offset, .. } => next = Some(offset),
                Output::Request { piece, .. } => {
                    assert_eq!((piece, offset), (895, 112), "895 pieces are 112 bytes of bits");
                    return;
                }
                _ => {}
            }
        }
        assert_eq!(next, Some(offset));
        let part =
            Input::Part { peer: 1, piece: HOLDINGS, offset, bytes: &[0xff; 16], last: false };
        fetch.handle(T, part);
        offset += 16;
    }
}

#[test]
fn a_corrupt_piece_is_asked_elsewhere_and_the_third_one_ends_it() {
    let mut bench = Bench::new(200);
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.outputs(), [Seen::Ask(1, 0, 0)]);
    bench.peer_up(2, 0, Holdings::Whole);
    let wrong = Input::Part { peer: 1, piece: 0, offset: 0, bytes: &[7; 200], last: true };
    bench.handle(wrong);
    assert_eq!(bench.outputs(), [Seen::Ask(2, 0, 0)]);
    bench.refuse(2, 0, Refusal::Gone);
    assert_eq!(bench.outputs(), [Seen::Dropped(2, DropReason::Gone), Seen::Stalled(1)]);
    for strike in 2..=3 {
        bench.peer_up(1, 0, Holdings::Whole);
        assert_eq!(bench.outputs(), [Seen::Ask(1, 0, 0)]);
        bench.handle(wrong);
        assert_eq!(bench.fetch.counters().corrupt, strike);
    }
    assert_eq!(bench.outputs(), [Seen::Dropped(1, DropReason::Corrupt), Seen::Stalled(1)]);
    // Coming back does not help it, as nothing is forgotten.
    bench.handle(Input::PeerDown { peer: 1 });
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.outputs(), []);
    bench.peer_up(3, 0, Holdings::Whole);
    assert_eq!(bench.run(), [Seen::Ask(3, 0, 0), Seen::Done]);
}

#[test]
fn pieces_of_a_wrong_length_are_corrupt() {
    for (bytes, last) in [(&[7; 199][..], true), (&[7; 201], true), (&[], true), (&[7; 15], false)]
    {
        let mut bench = Bench::new(200);
        bench.peer_up(1, 0, Holdings::Whole);
        bench.outputs();
        bench.handle(Input::Part { peer: 1, piece: 0, offset: 0, bytes, last });
        assert_eq!(bench.fetch.counters().corrupt, 1);
    }
}

#[test]
fn a_slow_peer_rests_ever_longer_and_others_are_asked() {
    let mut bench = Bench::new(200);
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.outputs(), [Seen::Ask(1, 0, 0)]);
    let mut rests = Vec::new();
    for _ in 0..3 {
        assert_eq!(bench.wait(), [Seen::Cancel(1, 0)]);
        let before = bench.now;
        assert_eq!(bench.wait(), [Seen::Ask(1, 0, 0)]);
        rests.push(bench.now.saturating_since(before).as_secs());
    }
    assert_eq!(rests, [2, 4, 8]);
    bench.peer_up(2, 0, Holdings::Whole);
    assert_eq!(bench.wait(), [Seen::Cancel(1, 0), Seen::Ask(2, 0, 0)]);
    // What comes late is ignored.
    bench.answer(1, 0);
    assert_eq!(bench.fetch.counters().unsolicited, 1);
    assert_eq!(bench.run(), []);
    bench.answer(2, 0);
    assert_eq!(bench.run(), [Seen::Done]);
}

#[test]
fn a_peer_that_vanishes_frees_its_requests() {
    let mut bench = Bench::new(5000);
    bench.peer_up(1, 0, Holdings::Whole);
    for _ in 0..4 {
        for event in bench.outputs() {
            if let Seen::Ask(peer, piece @ 20.., _) = event {
                bench.answer(peer, piece);
            }
        }
    }
    bench.peer_up(2, 0, Holdings::Whole);
    bench.outputs();
    bench.handle(Input::PeerDown { peer: 1 });
    let seen = bench.outputs();
    let cancelled = seen.iter().filter(|s| matches!(s, Seen::Cancel(1, _))).count();
    assert!(cancelled > 0);
    assert!(seen.iter().all(|s| matches!(s, Seen::Cancel(1, _) | Seen::Ask(2, ..))), "{seen:?}");
    let mut rest: Vec<_> = seen;
    while !rest.contains(&Seen::Done) {
        // Peer 2 had some in flight already: answer whatever it may wait for.
        for piece in 0..20 {
            bench.answer(2, piece);
        }
        rest = bench.outputs();
    }
    assert!(bench.stored.is_in(&bench.flash));
}

#[test]
fn a_busy_peer_is_left_alone_for_as_long_as_it_wants_within_reason() {
    for (wanted, waited) in [(7, 7), (100_000, 60)] {
        let mut bench = Bench::new(200);
        bench.peer_up(1, 0, Holdings::Whole);
        bench.outputs();
        bench.refuse(1, 0, Refusal::Busy(Duration::from_secs(wanted)));
        assert_eq!(bench.outputs(), []);
        assert_eq!(bench.wait(), [Seen::Ask(1, 0, 0)]);
        assert_eq!(bench.now, secs(waited));
    }
}

#[test]
fn parts_that_have_arrived_outlive_a_short_rest() {
    for (wanted, next) in [(3, 64), (40, 0)] {
        let mut bench = Bench::new(200);
        bench.peer_up(1, 0, Holdings::Whole);
        bench.outputs();
        let part = bench.stored.piece(0)[..64].to_vec();
        bench.handle(Input::Part { peer: 1, piece: 0, offset: 0, bytes: &part, last: false });
        assert_eq!(bench.outputs(), [Seen::Ask(1, 0, 64)]);
        bench.refuse(1, 0, Refusal::Busy(Duration::from_secs(wanted)));
        assert_eq!(bench.outputs(), []);
        assert_eq!(bench.wait(), [Seen::Ask(1, 0, next)]);
        assert_eq!(bench.now, secs(wanted));
    }
}

#[test]
fn without_anyone_it_stalls_once_and_fails_at_last() {
    let mut bench = Bench::new(700);
    assert_eq!(bench.outputs(), [Seen::Stalled(4)]);
    assert_eq!(bench.outputs(), []);
    assert_eq!(bench.wait(), [Seen::Failed(Failure::NoProgress)]);
    assert_eq!(bench.now, T + config().give_up);
    assert_eq!(bench.fetch.poll_timeout(), None);
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.outputs(), []);
}

#[test]
fn ranks_are_asked_in_order_unless_the_lower_one_is_silent() {
    let mut bench = Bench::new(200);
    bench.peer_up(9, 1, Holdings::Whole);
    bench.peer_up(1, 0, Holdings::Whole);
    assert_eq!(bench.outputs(), [Seen::Ask(1, 0, 0)]);
    bench.refuse(1, 0, Refusal::Busy(Duration::from_secs(1)));
    assert_eq!(bench.outputs(), []);
    assert_eq!(bench.wait(), [Seen::Ask(1, 0, 0)]);
    bench.refuse(1, 0, Refusal::Failed);
    assert_eq!(bench.run(), [Seen::Ask(9, 0, 0), Seen::Done]);
}

#[test]
fn a_piece_larger_than_a_block_is_put_together() {
    let mut bench = Bench::new(256);
    bench.peer_up(1, 0, Holdings::Whole);
    let bytes = bench.stored.piece(0).to_vec();
    for (number, part) in bytes.chunks(64).enumerate() {
        let offset = u16::try_from(number * 64).unwrap();
        assert_eq!(bench.outputs(), [Seen::Ask(1, 0, offset)]);
        let input = Input::Part { peer: 1, piece: 0, offset, bytes: part, last: number == 3 };
        bench.handle(input);
        // A duplicate of the part changes nothing.
        bench.handle(input);
    }
    assert_eq!(bench.run(), [Seen::Done]);
    assert_eq!(bench.fetch.counters().unsolicited, 4);
}

#[test]
fn parts_that_do_not_make_the_piece_are_a_strike_and_free_the_buffer() {
    let mut bench = Bench::new(256);
    bench.peer_up(1, 0, Holdings::Whole);
    for _ in 0..3 {
        bench.peer_up(1, 0, Holdings::Whole);
        for offset in [0, 128] {
            assert_eq!(bench.outputs(), [Seen::Ask(1, 0, offset)]);
            bench.handle(Input::Part {
                peer: 1,
                piece: 0,
                offset,
                bytes: &[7; 128],
                last: offset > 0,
            });
        }
    }
    bench.peer_up(2, 0, Holdings::Whole);
    let log = bench.run();
    assert_eq!(log, [Seen::Dropped(1, DropReason::Corrupt), Seen::Ask(2, 0, 0), Seen::Done]);
}

#[test]
fn a_peer_cannot_drag_a_piece_out_part_by_part() {
    let mut bench = Bench::new(256);
    bench.peer_up(1, 0, Holdings::Whole);
    let bytes = bench.stored.piece(0).to_vec();
    let mut offset = 0;
    while bench.outputs() == [Seen::Ask(1, 0, offset)] {
        bench.now += config().request_timeout - Duration::from_millis(100);
        let part = &bytes[usize::from(offset)..][..16];
        bench.handle(Input::Part { peer: 1, piece: 0, offset, bytes: part, last: false });
        offset += 16;
    }
    assert_eq!(offset, 80);
    assert!(bench.now < T + config().request_timeout * 5);
}

#[test]
fn no_more_is_asked_for_than_storage_takes() {
    let stored = Stored::new(&noise(5000, 3), 8);
    let mut fetch: Fetch<u8, 2, 3, 8, 256, 1> =
        Fetch::new(T, Config { peer_window: 8, ..config() }, &stored.blob, 1).unwrap();
    fetch.handle(T, Input::PeerUp { peer: 1, rank: 0, holdings: Holdings::Whole });
    let mut flash = stored.bytes.clone();
    let (mut requests, mut writing, mut widest) = (Vec::new(), None, 0);
    let mut held_back = false;
    loop {
        let mut quiet = true;
        while let Some(output) = fetch.poll(T) {
            quiet = false;
            match output {
                Output::Request { piece, .. } => {
                    assert!(writing.is_none(), "asked for {piece} while the buffer was taken");
                    requests.push(piece);
                }
                Output::Write { piece, offset, bytes } => {
                    flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                    writing = Some(piece);
                }
                Output::Read { offset, len } => {
                    let bytes = &flash[offset as usize..][..usize::from(len)];
                    fetch.handle(T, Input::Read { offset, bytes });
                }
                Output::Done => {
                    assert!(held_back && widest > 2 && fetch.counters().overruns > 0);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        widest = widest.max(requests.len());
        // Everything in flight arrives before storage is done with one piece.
        for piece in requests.drain(..) {
            let bytes = stored.piece(piece);
            fetch.handle(T, Input::Part { peer: 1, piece, offset: 0, bytes, last: true });
        }
        if quiet && let Some(piece) = writing.take() {
            held_back = true;
            fetch.handle(T, Input::Written { piece });
        }
    }
}

#[test]
fn a_reboot_costs_nothing_that_was_written() {
    for trust in [Trust::Recorded, Trust::Nothing] {
        let mut bench = Bench::new(5000);
        bench.peer_up(1, 0, Holdings::Whole);
        let mut before = Vec::new();
        while before.len() < 12 {
            for event in bench.outputs() {
                if let Seen::Ask(peer, piece, _) = event {
                    bench.answer(peer, piece);
                    before.push(piece);
                }
            }
        }
        bench.outputs();
        let kept = bench.fetch.have().count(0..64);
        assert!(kept >= 8);
        bench.reboot(trust);
        bench.peer_up(1, 0, Holdings::Whole);
        let log = bench.run();
        assert_eq!(asked(&log).len(), 24 - usize::from(kept));
        assert_eq!(log.last(), Some(&Seen::Done));
    }
}

#[test]
fn what_storage_has_spoilt_is_fetched_again() {
    for trust in [Trust::Recorded, Trust::Nothing] {
        let mut bench = Bench::new(5000);
        bench.flash.clone_from(&bench.stored.bytes);
        let ruin = [3, 17, 21];
        for piece in ruin {
            bench.flash[piece * 256 + 5] ^= 1;
        }
        bench.fetch = Small::new(T, config(), &bench.stored.blob, 1).unwrap().resume(0..99, trust);
        bench.peer_up(1, 0, Holdings::Whole);
        let log = bench.run();
        assert_eq!(asked(&log).into_iter().collect::<BTreeSet<_>>(), [3, 17, 21].into());
        assert_eq!(log.last(), Some(&Seen::Done), "{trust:?}");
        assert!(bench.stored.is_in(&bench.flash));
        assert_eq!(bench.fetch.counters().mended, 3);
    }
}

#[test]
fn pages_of_another_blob_are_found_out_in_the_end() {
    let mut bench = Bench::new(5000);
    bench.stored.blob.digest = Digest::of(b"something else");
    bench.fetch = Small::new(T, config(), &bench.stored.blob, 1).unwrap();
    bench.peer_up(1, 0, Holdings::Whole);
    let log = bench.run();
    assert_eq!(log.last(), Some(&Seen::Failed(Failure::WrongDigest)));
    assert_eq!(asked(&log).len(), 24);
}

#[test]
fn storage_may_fail_twice_in_a_row_but_not_three_times() {
    for (failures, end) in [(2, Seen::Done), (3, Seen::Failed(Failure::Storage))] {
        let mut bench = Bench::new(256);
        bench.peer_up(1, 0, Holdings::Whole);
        bench.outputs();
        bench.answer(1, 0);
        for _ in 0..failures {
            assert!(matches!(bench.fetch.poll(T), Some(Output::Write { piece: 0, .. })));
            bench.handle(Input::WriteFailed { piece: 0 });
        }
        assert_eq!(bench.run(), [end]);

        let mut bench = Bench::new(256);
        bench.peer_up(1, 0, Holdings::Whole);
        bench.outputs();
        bench.answer(1, 0);
        assert!(matches!(bench.fetch.poll(T), Some(Output::Write { piece: 0, .. })));
        assert_eq!(bench.fetch.unwritten(0), Some(bench.stored.piece(0)));
        assert_eq!(bench.fetch.unwritten(1), None);
        let piece = bench.stored.piece(0).to_vec();
        bench.flash.copy_from_slice(&piece);
        bench.handle(Input::Written { piece: 0 });
        for _ in 0..failures {
            assert_eq!(bench.fetch.poll(T), Some(Output::Read { offset: 0, len: 256 }));
            bench.handle(Input::ReadFailed { offset: 0 });
        }
        assert_eq!(bench.run(), [end]);
    }
}

#[test]
fn a_document_is_fetched_by_its_digest_alone() {
    for len in [0, 1, 255, 256] {
        let content = noise(len, 9);
        let mut fetch =
            Fetch::<u8, 1, 2, 2, 256, 1>::document(T, config(), Digest::of(&content), 1).unwrap();
        fetch.handle(T, Input::PeerUp { peer: 1, rank: 0, holdings: Holdings::Unknown });
        fetch.handle(T, Input::PeerUp { peer: 2, rank: 0, holdings: Holdings::Whole });
        let mut flash = [0; 256];
        let mut done = false;
        while let Some(output) = fetch.poll(T) {
            match output {
                Output::Request { piece: HOLDINGS, peer, .. } => {
                    fetch.handle(
                        T,
                        Input::Refused { peer, piece: HOLDINGS, refusal: Refusal::NotFound },
                    );
                }
                Output::Request { peer, piece: 0, offset } => {
                    let from = usize::from(offset);
                    let to = content.len().min(from + 64);
                    let (bytes, last) = (&content[from..to], to == content.len());
                    fetch.handle(T, Input::Part { peer, piece: 0, offset, bytes, last });
                }
                Output::Write { piece: 0, offset: 0, bytes } => {
                    assert_eq!(bytes, content);
                    flash[..bytes.len()].copy_from_slice(bytes);
                    fetch.handle(T, Input::Written { piece: 0 });
                }
                Output::Read { offset, len } => {
                    let bytes = &flash[offset as usize..][..usize::from(len)];
                    fetch.handle(T, Input::Read { offset, bytes });
                }
                Output::Done => done = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(done);
        assert_eq!(fetch.geometry().size() as usize, len);
    }
    assert_eq!(
        Fetch::<u8, 1, 2, 2, 300, 1>::document(T, config(), Digest::of(b""), 1).map(|_| ()),
        Err(StartError::ChunkSize)
    );
}

#[test]
fn a_full_table_of_peers_gives_way_only_to_the_useless() {
    let mut bench = Bench::new(200);
    for peer in 1..=3 {
        bench.peer_up(peer, 0, Holdings::Whole);
    }
    bench.peer_up(4, 0, Holdings::Whole);
    assert_eq!(bench.fetch.counters().peers_ignored, 1);
    let Some(&Seen::Ask(first, 0, 0)) = bench.outputs().first() else { panic!() };
    bench.refuse(first, 0, Refusal::Gone);
    bench.peer_up(4, 0, Holdings::Whole);
    assert_eq!(bench.fetch.counters().peers_ignored, 1);
    bench.peer_up(5, 0, Holdings::Whole);
    assert_eq!(bench.fetch.counters().peers_ignored, 2);
}

#[test]
fn peers_that_announce_little_are_asked_for_it_first() {
    let mut bench = Bench::new(5000);
    for (peer, pieces) in [(1, [0xff; 3]), (2, [0xff; 3]), (3, [0x00, 0x40, 0x0f])] {
        bench.handle(Input::PeerUp { peer, rank: 0, holdings: Holdings::Unknown });
        bench.handle(Input::Announce { peer, first: 0, pieces: &pieces });
    }
    // Make the pages known.
    let pages: Vec<u16> = (20..24).collect();
    bench.flash.clone_from(&bench.stored.bytes);
    bench.fetch =
        Small::new(T, config(), &bench.stored.blob, 1).unwrap().resume(pages, Trust::Recorded);
    for (peer, pieces) in [(1, [0xff; 3]), (2, [0xff, 0xbf, 0xff])] {
        bench.peer_up(peer, 0, Holdings::Unknown);
        bench.handle(Input::Announce { peer, first: 0, pieces: &pieces });
    }
    assert_eq!(asked(&bench.outputs())[0], 9);
}

#[test]
fn the_default_transfer_fits_four_kilobytes() {
    assert_eq!(Bitmap::<34>::CAPACITY, 1088);
    let by_number = size_of::<Fetch<u16>>();
    assert!(by_number <= 3600, "{by_number}");
    let by_address = size_of::<Fetch<core::net::SocketAddr>>();
    assert!(by_address <= 3840, "{by_address}");
    let one_buffer = size_of::<Fetch<u16, 34, 4, 4, 1024, 1>>();
    assert!(one_buffer <= 2576, "{one_buffer}");
}
