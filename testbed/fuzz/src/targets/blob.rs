//! Blob transfer: three peers that answer rightly, wrongly, late, or without being asked, storage
//! that fails, and announcements of anything. Whatever happens, only the right bytes are written.

use crate::Feed;
use capmesh_blob::fetch::{Config, Fetch, Holdings, Input, Output, Refusal, Trust};
use capmesh_blob::mapping;
use capmesh_blob::pages::Pages;
use capmesh_wire::{BlobRef, Instant};
use core::time::Duration;

type Fetcher = Fetch<u8, 2, 3, 4, 256, 2>;

/// How much may come out of one call before that counts as a loop.
const MOST_AT_ONCE: usize = 200;

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    fetch: Fetcher,
    /// The blob as it is stored, pages behind chunks.
    stored: Vec<u8>,
    flash: Vec<u8>,
    asked: Vec<(u8, u16, u16)>,
    reads: Vec<(u32, u16)>,
    writes: Vec<u16>,
    over: bool,
}

/// A blob of `size` bytes as it is stored.
fn stored(size: usize) -> (BlobRef, Vec<u8>) {
    let mut bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 256) as u8).collect();
    let mut pages = Pages::new(size as u32, 8).expect("the size is supported");
    let chunks: Vec<Vec<u8>> = bytes.chunks(256).map(<[u8]>::to_vec).collect();
    for chunk in chunks {
        for entry in pages.push(&chunk).expect("the next chunk") {
            let at = entry.offset as usize;
            // What lies between chunks and pages belongs to no piece and stays erased.
            bytes.resize(bytes.len().max(at + 32), 0xff);
            bytes[at..at + 32].copy_from_slice(entry.digest.as_bytes());
        }
    }
    (pages.finish().expect("all chunks"), bytes)
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    paths(data);
    let mut feed = Feed::new(data);
    let (blob, stored) = stored(1 + usize::from(feed.word()) % 4_000);
    let fetch = Fetcher::new(Instant::ZERO, Config::default(), &blob, 1).expect("in bounds");
    let fetch = if feed.below(3) == 0 {
        let pieces: Vec<u16> = (0..feed.below(20)).map(|_| u16::from(feed.byte())).collect();
        fetch.resume(pieces, [Trust::Recorded, Trust::Nothing][feed.below(2)])
    } else {
        fetch
    };
    let mut world = World {
        feed,
        now: Instant::ZERO,
        fetch,
        flash: vec![0xff; stored.len()],
        stored,
        asked: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        over: false,
    };
    world.settle();
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
}

/// The CoAP mapping reads paths of strangers.
fn paths(data: &[u8]) {
    let _ = mapping::parse_path(data.split(|byte| *byte == b'/'));
}

impl World<'_> {
    fn operate(&mut self) {
        let peer = self.feed.below(4) as u8;
        match self.feed.below(12) {
            0 => {
                let holdings = [Holdings::Unknown, Holdings::Whole][self.feed.below(2)];
                let rank = self.feed.below(3) as u8;
                self.fetch.handle(self.now, Input::PeerUp { peer, rank, holdings });
            }
            1 => self.fetch.handle(self.now, Input::PeerDown { peer }),
            2 => {
                let first = self.feed.word();
                let pieces = self.feed.bytes(20);
                self.fetch.handle(self.now, Input::Announce { peer, first, pieces });
            }
            3..=6 => self.answer(),
            7 => self.answer_wrongly(peer),
            8 => self.read(),
            9 => self.written(),
            10 => self.now += Duration::from_millis(u64::from(self.feed.word())),
            _ => self.now = self.fetch.poll_timeout().unwrap_or(self.now).max(self.now),
        }
    }

    /// The piece that somebody was asked for, or its holdings, perhaps in parts.
    fn answer(&mut self) {
        let which = self.feed.below(self.asked.len().max(1));
        let Some(&(peer, piece, offset)) = self.asked.get(which) else { return };
        self.asked.remove(which);
        let all = [0xff; 8];
        let bytes = if piece == capmesh_blob::fetch::HOLDINGS {
            &all[..]
        } else {
            let geometry = self.fetch.geometry();
            let at = geometry.offset(piece) as usize;
            &self.stored[at..at + usize::from(geometry.len(piece))]
        };
        let rest = bytes.get(usize::from(offset)..).unwrap_or_default();
        let part = if self.feed.below(3) == 0 { rest.len().min(64) } else { rest.len() };
        let (bytes, last) = (&rest[..part], part == rest.len());
        self.fetch.handle(self.now, Input::Part { peer, piece, offset, bytes, last });
    }

    fn answer_wrongly(&mut self, peer: u8) {
        let (piece, offset) = match self.asked.last() {
            Some(&(_, piece, offset)) if self.feed.below(2) == 0 => (piece, offset),
            _ => (self.feed.word(), self.feed.word()),
        };
        let input = match self.feed.below(5) {
            0 => Input::Refused { peer, piece, refusal: Refusal::NotFound },
            1 => Input::Refused { peer, piece, refusal: Refusal::Gone },
            2 => {
                let seconds = u64::from(self.feed.word());
                let refusal = Refusal::Busy(Duration::from_secs(seconds));
                Input::Refused { peer, piece, refusal }
            }
            3 => Input::Refused { peer, piece, refusal: Refusal::Failed },
            _ => {
                let last = self.feed.below(2) == 0;
                Input::Part { peer, piece, offset, bytes: self.feed.bytes(300), last }
            }
        };
        self.fetch.handle(self.now, input);
    }

    fn read(&mut self) {
        let Some((offset, len)) = self.reads.pop() else { return };
        let at = offset as usize;
        let bytes = self.flash.get(at..at + usize::from(len)).expect("reads are inside the blob");
        let input = match self.feed.below(8) {
            0 => Input::ReadFailed { offset },
            _ => Input::Read { offset, bytes },
        };
        self.fetch.handle(self.now, input);
    }

    fn written(&mut self) {
        let Some(piece) = self.writes.pop() else { return };
        let input = match self.feed.below(8) {
            0 => Input::WriteFailed { piece },
            _ => Input::Written { piece },
        };
        self.fetch.handle(self.now, input);
    }

    fn settle(&mut self) {
        for step in 0.. {
            assert!(step < MOST_AT_ONCE, "it does not come to rest");
            match self.fetch.poll(self.now) {
                Some(Output::Request { peer, piece, offset }) => {
                    self.asked.push((peer, piece, offset));
                }
                Some(Output::Write { piece, offset, bytes }) => {
                    let range = offset as usize..offset as usize + bytes.len();
                    assert_eq!(self.stored.get(range.clone()), Some(bytes), "unverified bytes");
                    self.flash[range].copy_from_slice(bytes);
                    self.writes.push(piece);
                }
                Some(Output::Read { offset, len }) => self.reads.push((offset, len)),
                Some(Output::Done) => {
                    assert_eq!(self.flash, self.stored, "done, and not all of it is there");
                    self.over = true;
                }
                Some(Output::Failed(_)) => self.over = true,
                Some(Output::Cancel { .. } | Output::Dropped { .. } | Output::Stalled { .. }) => {}
                None => break,
            }
            assert!(!self.over || self.fetch.result().is_some());
        }
        let next = self.fetch.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "idle, but wants to be polled");
        self.asked.truncate(16);
    }
}
