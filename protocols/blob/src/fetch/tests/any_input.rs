//! Any inputs in any order: no panic, nothing wrong is written, and it ends.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Up(u8, u8, bool),
    Down(u8),
    Announce(u8, u16, Vec<u8>),
    /// A part of the truth or of something else, as an answer to something asked or not.
    Part {
        peer: u8,
        piece: u16,
        offset: u16,
        len: usize,
        truth: bool,
        last: bool,
    },
    Answer {
        pick: usize,
        truth: bool,
    },
    Refuse {
        peer: u8,
        piece: u16,
        kind: u8,
    },
    RefuseAsked {
        pick: usize,
        kind: u8,
    },
    Written(u16, bool),
    Read {
        offset: u32,
        len: usize,
    },
    StorageAnswers(bool),
    Wait(u64),
}

fn piece() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0_u16..26, 1 => Just(HOLDINGS), 1 => any::<u16>()]
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0_u8..5;
    prop_oneof![
        2 => (peer(), 0_u8..3, any::<bool>()).prop_map(|(p, r, w)| Step::Up(p, r, w)),
        1 => peer().prop_map(Step::Down),
        1 => (peer(), piece(), proptest::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(p, f, b)| Step::Announce(p, f, b)),
        2 => (peer(), piece(), 0_u16..300, 0_usize..300, any::<bool>(), any::<bool>()).prop_map(
            |(peer, piece, offset, len, truth, last)| Step::Part { peer, piece, offset, len, truth, last }
        ),
        8 => (any::<usize>(), prop::bool::weighted(0.9))
            .prop_map(|(pick, truth)| Step::Answer { pick, truth }),
        1 => (peer(), piece(), 0_u8..4).prop_map(|(peer, piece, kind)| Step::Refuse { peer, piece, kind }),
        2 => (any::<usize>(), 0_u8..4).prop_map(|(pick, kind)| Step::RefuseAsked { pick, kind }),
        1 => (piece(), any::<bool>()).prop_map(|(p, ok)| Step::Written(p, ok)),
        1 => (0_u32..7000, 0_usize..300).prop_map(|(offset, len)| Step::Read { offset, len }),
        8 => prop::bool::weighted(0.9).prop_map(Step::StorageAnswers),
        2 => (0_u64..20_000).prop_map(Step::Wait),
    ]
}

fn refusal(kind: u8) -> Refusal {
    match kind {
        0 => Refusal::NotFound,
        1 => Refusal::Gone,
        2 => Refusal::Busy(Duration::from_secs(5)),
        _ => Refusal::Failed,
    }
}

/// What storage has been asked and not yet answered.
#[derive(Clone, Copy)]
enum Storage {
    Write(u16),
    Read(u32, u16),
}

fn drive(steps: &[Step]) {
    let stored = Stored::new(&noise(5000, 3), 8);
    let mut fetch = Small::new(T, config(), &stored.blob, 1).unwrap();
    let mut flash = vec![0; stored.bytes.len()];
    let (mut now, mut asked, mut storage) = (T, Vec::new(), Vec::new());
    let mut ended = false;
    for step in steps {
        match step {
            Step::Up(peer, rank, whole) => {
                let holdings = if *whole { Holdings::Whole } else { Holdings::Unknown };
                fetch.handle(now, Input::PeerUp { peer: *peer, rank: *rank, holdings });
            }
            Step::Down(peer) => fetch.handle(now, Input::PeerDown { peer: *peer }),
            Step::Announce(peer, first, pieces) => {
                fetch.handle(now, Input::Announce { peer: *peer, first: *first, pieces });
            }
            Step::Part { peer, piece, offset, len, truth, last } => {
                let all = if *truth { stored.piece((*piece).min(23)) } else { &[7; 300] };
                let from = usize::from(*offset).min(all.len());
                let bytes = &all[from..(from + len).min(all.len())];
                let (peer, piece, offset, last) = (*peer, *piece, *offset, *last);
                fetch.handle(now, Input::Part { peer, piece, offset, bytes, last });
            }
            Step::Answer { pick, truth } if !asked.is_empty() => {
                let (peer, piece, offset) = asked.swap_remove(pick % asked.len());
                let bytes = match piece {
                    HOLDINGS => &[0xff, 0x7f, 0xff][..],
                    _ if *truth => &stored.piece(piece)[usize::from(offset)..],
                    _ => &[9; 256],
                };
                fetch.handle(now, Input::Part { peer, piece, offset, bytes, last: true });
            }
            Step::Refuse { peer, piece, kind } => {
                let (peer, piece, refusal) = (*peer, *piece, refusal(*kind));
                fetch.handle(now, Input::Refused { peer, piece, refusal });
            }
            Step::RefuseAsked { pick, kind } if !asked.is_empty() => {
                let (peer, piece, _) = asked.swap_remove(pick % asked.len());
                fetch.handle(now, Input::Refused { peer, piece, refusal: refusal(*kind) });
            }
            Step::Written(piece, ok) => {
                let piece = *piece;
                // Only what is not being written: the machine must not believe more than it asked.
                if !storage.iter().any(|s| matches!(s, Storage::Write(p) if *p == piece)) {
                    let (written, failed) =
                        (Input::Written { piece }, Input::WriteFailed { piece });
                    fetch.handle(now, if *ok { written } else { failed });
                }
            }
            Step::Read { offset, len } => {
                let expected =
                    storage.iter().any(|s| matches!(s, Storage::Read(o, _) if o == offset));
                if !expected {
                    fetch.handle(now, Input::Read { offset: *offset, bytes: &[1; 300][..*len] });
                }
            }
            Step::StorageAnswers(ok) => {
                for work in storage.drain(..) {
                    match work {
                        Storage::Write(piece) if *ok => fetch.handle(now, Input::Written { piece }),
                        Storage::Write(piece) => fetch.handle(now, Input::WriteFailed { piece }),
                        Storage::Read(offset, len) if *ok => {
                            let bytes = &flash[offset as usize..][..usize::from(len)];
                            fetch.handle(now, Input::Read { offset, bytes });
                        }
                        Storage::Read(offset, _) => fetch.handle(now, Input::ReadFailed { offset }),
                    }
                }
            }
            Step::Wait(millis) => now += Duration::from_millis(*millis),
            Step::Answer { .. } | Step::RefuseAsked { .. } => {}
        }
        for turn in 0.. {
            assert!(turn < 1000, "it never stops to want something");
            let Some(output) = fetch.poll(now) else { break };
            assert!(!ended, "{output:?} after the end");
            match output {
                Output::Request { peer, piece, offset } => asked.push((peer, piece, offset)),
                Output::Cancel { peer, piece } => {
                    asked.retain(|(p, n, _)| (*p, *n) != (peer, piece));
                }
                Output::Write { piece, offset, bytes } => {
                    assert_eq!(bytes, stored.piece(piece), "unverified bytes");
                    flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                    storage.push(Storage::Write(piece));
                }
                Output::Read { offset, len } => storage.push(Storage::Read(offset, len)),
                Output::Done => {
                    assert!(stored.is_in(&flash));
                    ended = true;
                }
                Output::Failed(_) => ended = true,
                Output::Dropped { .. } | Output::Stalled { .. } => {}
            }
        }
        if let Some(at) = fetch.poll_timeout() {
            assert!(at > now, "a timer that has passed");
        }
        assert_eq!(ended, fetch.poll_timeout().is_none());
        assert_eq!(ended, fetch.result().is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_inputs_in_any_order(steps in proptest::collection::vec(step(), 0..300)) {
        drive(&steps);
    }
}
