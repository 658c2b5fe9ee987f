//! Blobs that are said to all on a link: a registry and a node that speak, somebody who puts together what is
//! heard, and on the air datagrams of anybody, those of theirs that were changed on the way or come again, and
//! requests of a member for anything. Whatever happens, only the right bytes come together, and nobody speaks
//! faster or more than it may.

use crate::Feed;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_blob::{Geometry, Store, lay_out};
use capmesh_transfer::said::{Config, Heard, Keys, PIECE, Parts, Rank, Speaker, read, write_ask};
use capmesh_wire::said::{Ask, Lack, Part};
use capmesh_wire::{BlobRef, Digest, Instant, limits};
use core::time::Duration;
use std::collections::BTreeMap;

/// Datagrams that come of one operation at most before that counts as a loop: all parts of all pieces that can
/// be asked for at a time, of each speaker.
const MOST_AT_ONCE: usize = 2 * limits::LACKS * limits::PARTS;

/// How often each part of a blob may be said before somebody asks in a session again.
const EACH: usize = 8;

/// Datagrams that are remembered, to come again.
const RECENT: usize = 32;

/// One who has a blob.
struct Whole {
    blob: BlobRef,
    geometry: Geometry,
    stored: Vec<u8>,
}

impl Whole {
    fn new(size: u32, chunk_log2: u8) -> Self {
        let mut stored: Vec<u8> = (0..size).map(|at| (at * 7 + at / 256) as u8).collect();
        let geometry = Geometry::new(size, chunk_log2).expect("the size is supported");
        stored.resize(geometry.stored_size() as usize, 0xff);
        let blob = lay_out(&mut stored, size, chunk_log2).expect("it fits");
        Self { blob, geometry, stored }
    }

    fn piece(&self, piece: u16) -> &[u8] {
        let at = self.geometry.offset(piece) as usize;
        &self.stored[at..at + usize::from(self.geometry.len(piece))]
    }
}

impl Store for Whole {
    fn held(&self, digest: &Digest) -> Held {
        if *digest == self.blob.digest { Held::Whole(self.geometry) } else { Held::Nothing }
    }

    fn has(&self, digest: &Digest, piece: u16) -> bool {
        *digest == self.blob.digest && piece < self.geometry.pieces()
    }

    fn read(&self, _: &Digest, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        let at = offset as usize;
        buf.copy_from_slice(self.stored.get(at..at + buf.len()).expect("it is in the blob"));
        Ok(())
    }
}

/// A speaker, and what it has said.
struct Voice {
    speaker: Speaker,
    rank: Rank,
    last: Option<Instant>,
    /// Since somebody asked in a session last.
    said: usize,
}

struct World<'a> {
    feed: Feed<'a>,
    now: Instant,
    store: Whole,
    keys: Keys,
    voices: [Voice; 2],
    /// What is put together, by piece.
    heard: BTreeMap<u16, (Parts, Vec<u8>)>,
    recent: Vec<Vec<u8>>,
}

/// Runs the input as a program.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    if feed.below(8) == 0 {
        garbage(&mut feed);
        return;
    }
    let (size, chunk_log2) = (1 + u32::from(feed.word()) % 12_000, 9 + feed.below(3) as u8);
    let store = Whole::new(size, chunk_log2);
    let keys = Keys::new(&store.blob.digest, &store.blob.root);
    let voices = [Rank::Registry, Rank::Node].map(|rank| {
        let speaker = Speaker::new(Config::radio(rank), feed.word().into());
        Voice { speaker, rank, last: None, said: 0 }
    });
    let now = Instant::from_secs(5);
    let (heard, recent) = (BTreeMap::new(), Vec::new());
    let mut world = World { feed, now, store, keys, voices, heard, recent };
    world.keep_up();
    while !world.feed.is_empty() {
        world.operate();
        world.settle();
    }
}

/// Parts of any number and size, with anything in them, as if their keys were known.
fn garbage(feed: &mut Feed<'_>) {
    let (of, size) = (feed.byte(), feed.word() % 128);
    let mut parts = Parts::new(of, size);
    let mut bytes = vec![0; parts.room()];
    while !feed.is_empty() {
        let before = parts.lacking();
        let is_kept = parts.keep(feed.byte(), feed.bytes(usize::from(size)), &mut bytes);
        assert_eq!(parts.lacking(), before - u8::from(is_kept));
        if let Some(piece) = parts.clone().solve(&mut bytes.clone()) {
            assert!(piece.len() <= parts.room() && parts.lacking() == 0);
        }
    }
}

impl World<'_> {
    fn operate(&mut self) {
        match self.feed.below(10) {
            0 => {
                let datagram = self.feed.bytes(128).to_vec();
                self.on_air(&datagram);
            }
            1 | 2 => {
                let which = self.feed.below(self.recent.len().max(1));
                let Some(datagram) = self.recent.get(which).cloned() else { return };
                let changed = self.feed.mutated(&datagram);
                self.on_air(&changed);
            }
            3 | 4 => self.ask_all(),
            5 => self.ask_in_session(),
            6 => self.voices[1].speaker.set_others(self.feed.byte()),
            7 => self.keep_up(),
            8 => self.now += Duration::from_millis(self.feed.word().into()),
            _ => {
                let next = self.voices.iter().filter_map(|voice| voice.speaker.poll_timeout());
                self.now = next.min().unwrap_or(self.now).max(self.now);
            }
        }
    }

    fn keep_up(&mut self) {
        let (blob, pieces) = (self.store.blob, self.store.geometry.pieces());
        self.voices[1].speaker.keep_up(self.now, &blob.digest, &blob.root, pieces);
    }

    fn lacks(&mut self) -> Vec<Lack> {
        let count = 1 + self.feed.below(limits::LACKS);
        let mut lack = || {
            let piece = u16::from(self.feed.byte()) % (self.store.geometry.pieces() + 2);
            Lack { piece, parts: self.feed.byte() }
        };
        (0..count).map(|_| lack()).collect()
    }

    /// A member asks all for whatever it likes.
    fn ask_all(&mut self) {
        let (lacks, mut buf) = (self.lacks(), [0; 128]);
        let salt = [self.feed.byte(); 8];
        let len = write_ask(&self.keys, &lacks, salt, 1, &mut buf).expect("it fits");
        self.on_air(&buf[..len]);
    }

    fn ask_in_session(&mut self) {
        let which = self.feed.below(2);
        let voice = &mut self.voices[which];
        let bytes = self.feed.bytes(40);
        let digest = self.store.blob.digest;
        let asked = voice.speaker.ask(self.now, &digest, bytes, &self.store, &mut [0; PIECE]);
        assert_eq!(asked.is_ok(), Lack::parse(bytes).is_some());
        if asked.is_ok() {
            voice.said = 0;
        }
    }

    /// Everybody hears a datagram, whoever sends it.
    fn on_air(&mut self, datagram: &[u8]) {
        let Some(heard) = read(datagram) else {
            self.voices.iter_mut().for_each(|voice| voice.speaker.give_way(self.now));
            return;
        };
        for voice in &mut self.voices {
            match &heard {
                Heard::Part(part) => voice.speaker.heard_part(self.now, part),
                Heard::Ask(ask) => {
                    let is_known = voice.speaker.heard_ask(self.now, ask, &self.store);
                    assert!(!is_known || opens(&self.keys, ask), "a stranger was heard");
                }
            }
            voice.speaker.note_heard(self.now);
        }
        if let Heard::Part(part) = heard {
            self.hear(&part);
        }
    }

    /// Puts a part to the others of its piece. Whoever sent it, if it can be opened it is right.
    fn hear(&mut self, part: &Part<'_>) {
        let mut room = [0; PIECE + 2];
        let Some(text) = self.keys.open_part(part, &mut room) else { return };
        let size = u16::try_from(text.len()).expect("it fits a datagram");
        let (parts, bytes) = self.heard.entry(part.piece).or_insert_with(|| {
            let parts = Parts::new(part.of, size);
            let bytes = vec![0; parts.room()];
            (parts, bytes)
        });
        assert!(parts.are(part.of, text.len()), "all cut it the same");
        parts.keep(part.number, text, bytes);
        if parts.lacking() == 0 {
            let piece = parts.solve(bytes).map(<[u8]>::to_vec);
            assert_eq!(piece.as_deref(), Some(self.store.piece(part.piece)), "not the piece");
            self.heard.remove(&part.piece);
        }
    }

    /// Has those speak who want to.
    fn settle(&mut self) {
        for which in 0..self.voices.len() {
            let mut buf = [0; 1_280];
            for step in 0.. {
                assert!(step < MOST_AT_ONCE, "it does not come to rest");
                let Some(len) = self.voices[which].say(self.now, &self.store, &mut buf) else {
                    break;
                };
                let datagram = buf[..len].to_vec();
                self.remember(datagram);
            }
        }
    }

    /// What was said is heard by the one who puts it together, and perhaps by all.
    fn remember(&mut self, datagram: Vec<u8>) {
        let Some(Heard::Part(part)) = read(&datagram) else { panic!("it says parts") };
        let mut room = [0; PIECE + 2];
        assert!(self.keys.open_part(&part, &mut room).is_some(), "nobody can read it");
        match self.feed.below(4) {
            0 => {}
            1 => self.on_air(&datagram),
            _ => self.hear(&part),
        }
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(datagram);
    }
}

impl Voice {
    fn say(&mut self, now: Instant, store: &Whole, buf: &mut [u8]) -> Option<usize> {
        let Some(len) = self.speaker.poll(now, store, &mut [0; PIECE], buf) else {
            let next = self.speaker.poll_timeout();
            assert!(next.is_none_or(|next| next > now), "idle, but wants to be polled");
            return None;
        };
        let config = Config::radio(self.rank);
        assert!(len <= config.datagram, "more than a frame");
        let is_in_time = self.last.is_none_or(|last| now >= last + config.pace);
        assert!(is_in_time, "faster than its pace");
        self.last = Some(now);
        self.said += 1;
        let most = usize::from(store.geometry.pieces()) * limits::PARTS * EACH;
        // The blob may have been forgotten and begun anew: only a member that keeps it up does that.
        assert!(self.rank == Rank::Node || self.said <= most, "without bounds");
        Some(len)
    }
}

fn opens(keys: &Keys, ask: &Ask<'_>) -> bool {
    keys.open_ask(ask, &mut [0; 128]).is_some()
}
