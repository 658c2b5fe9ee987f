//! The side that has blobs.

use super::code;
use super::frame::{AROUND, write_part};
use super::keys::Keys;
use capmesh_blob::serve::Held;
use capmesh_blob::{Geometry, Store};
use capmesh_wire::said::{Ask, LACK, Lack, Part};
use capmesh_wire::{Digest, Instant, limits};
use core::time::Duration;
use heapless::Vec;

/// Blobs that are being said. One more takes the place of the one that was asked for the longest time ago.
const JOBS: usize = 4;

/// Bytes of the longest piece that is said.
pub const PIECE: usize = 2_048;

/// Bytes of the longest part.
const PART: usize = PIECE + 2;

/// Words of the bitmap of what was said: blobs of a megabyte in pieces of one kilobyte. Beyond, it is
/// as if everything had been said.
const WORDS: usize = 34;

/// How long a blob is said after somebody has asked for it in a session, or it was last kept up.
const OPEN: Duration = Duration::from_secs(30);

/// How many parts may be said for each one that there is, until somebody asks in a session again.
const PARTS_EACH: u32 = 8;

/// How long the one who spoke last waits before it goes on, at most.
const PROMPT: Duration = Duration::from_millis(3);

/// How long others wait, at least: until the one who spoke last would have been heard.
const BEHIND: Duration = Duration::from_millis(18);

/// How long a registry waits for nodes to say what was said before.
const AFTER_NODES: Duration = Duration::from_millis(330);

/// How long a node that begins to speak waits after its first part, to hear whether others do, too: for less
/// time than listeners take for silence.
const FIRST: Duration = Duration::from_millis(15);

/// How long the air is free at least before a node speaks: longer than between the parts of a registry.
const QUIET: Duration = Duration::from_millis(9);

/// Over how long nodes spread what they say, for each of them: about as long as a part takes, so that few have
/// begun by the time that the first is heard, however many there are.
const SPREAD: Duration = Duration::from_millis(6);

/// More nodes than this are a crowd: before one is heard, others have begun.
pub const CROWD: u8 = 64;

/// How long after something was said others are taken to go on.
const LIVELY: Duration = Duration::from_secs(3);

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// One of those who want the same.
    Node,
    /// One whose link is everybody's: it leaves to nodes what they can say.
    Registry,
}

/// How somebody speaks.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of the longest datagram: of one that fits a frame.
    pub datagram: usize,
    /// The time between two parts.
    pub pace: Duration,
    /// Who it is.
    pub rank: Rank,
}

impl Config {
    /// For IEEE 802.15.4: frames of 127 bytes, of which 94 are a datagram's with long addresses, and which
    /// take 4.3 ms and up to 2.2 of back-off.
    #[must_use]
    pub const fn radio(rank: Rank) -> Self {
        Self { datagram: 94, pace: Duration::from_micros(6_500), rank }
    }
}

/// Why something is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not here, or cannot be cut into so few parts.
    NotFound,
    /// What is asked for is nothing that can be.
    Malformed,
}

/// A blob that is said.
#[derive(Clone, Debug)]
struct Job {
    digest: Digest,
    keys: Keys,
    until: Instant,
    /// How many parts may be said.
    left: u32,
    asked: Vec<Asked, { limits::LACKS }>,
    said: capmesh_blob::Bitmap<WORDS>,
    /// Nobody else has said sums since this one has.
    is_last: bool,
}

/// A piece of which somebody lacks parts.
#[derive(Clone, Copy, Debug)]
struct Asked {
    piece: u16,
    parts: u8,
    /// The next source; behind the last one, sums.
    next: u8,
    at: Instant,
    /// How long it leaves it to others.
    wait: Duration,
}

/// Says blobs. See the [module](super).
#[derive(Clone, Debug)]
pub struct Speaker {
    config: Config,
    jobs: Vec<Job, JOBS>,
    /// Over how long nodes spread what they say, so that one speaks.
    spread: Duration,
    /// When the next part may go out.
    next: Instant,
    id: u16,
    /// Until when what others say counts as going on.
    lively_until: Instant,
    /// The number of the next sum.
    sum: u8,
    random: u64,
}

impl Speaker {
    /// Nothing is said. `seed` makes it differ from others.
    #[must_use]
    pub const fn new(config: Config, seed: u64) -> Self {
        let [a, b, sum, ..] = seed.to_le_bytes();
        Self {
            config,
            jobs: Vec::new(),
            spread: Duration::ZERO,
            next: Instant::ZERO,
            id: u16::from_le_bytes([a, b]),
            lively_until: Instant::ZERO,
            sum,
            random: seed,
        }
    }

    /// So many others may have the same to say.
    pub const fn set_others(&mut self, others: u8) {
        self.spread = SPREAD.saturating_mul(others as u32);
    }

    /// Somebody has said something, whatever it was.
    pub fn note_heard(&mut self, now: Instant) {
        self.lively_until = now + LIVELY;
    }

    /// Somebody has sent something to all, and no request. A node goes on when the air has been free for as long as
    /// it leaves it to others: until then, what it sent itself may not have gone out, nor what others did. Among few
    /// that would cost more than it saves.
    pub fn give_way(&mut self, now: Instant) {
        if self.config.rank == Rank::Node && self.spread > SPREAD * u32::from(CROWD) {
            let asked = self.jobs.iter_mut().flat_map(|job| &mut job.asked);
            asked.for_each(|asked| asked.at = asked.at.max(now + asked.wait.max(QUIET)));
        }
    }

    /// Whether somebody has said something lately.
    #[must_use]
    pub fn is_lively(&self, now: Instant) -> bool {
        self.lively_until > now
    }

    /// A number for a datagram of this host's that is not a part.
    pub const fn next_id(&mut self) -> u16 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// This node has, or is getting, a blob that others may lack parts of.
    pub fn keep_up(&mut self, now: Instant, digest: &Digest, root: &Digest, pieces: u16) {
        let until = now + OPEN;
        match self.jobs.iter_mut().find(|job| job.digest == *digest) {
            Some(job) => job.until = job.until.max(until),
            None => self.open(now, digest, root, pieces),
        }
    }

    /// Somebody asks in a session that a blob be said, and lacks what `lacks` says ([`Lack`]). `scratch` has
    /// [`PIECE`] bytes.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn ask(
        &mut self,
        now: Instant,
        digest: &Digest,
        lacks: &[u8],
        store: &(impl Store + ?Sized),
        scratch: &mut [u8],
    ) -> Result<(), Refused> {
        let geometry = geometry(store.held(digest)).ok_or(Refused::NotFound)?;
        if Lack::parse(lacks).is_none() {
            return Err(Refused::Malformed);
        }
        let known = self.jobs.iter().position(|job| job.digest == *digest);
        if known.is_none() {
            let top = geometry.pieces().checked_sub(1).ok_or(Refused::NotFound)?;
            let top = read(store, digest, &geometry, top, scratch).ok_or(Refused::NotFound)?;
            self.open(now, digest, &Digest::of(top), geometry.pieces());
        }
        let at = known.unwrap_or(self.jobs.len().saturating_sub(1));
        if let Some(job) = self.jobs.get_mut(at) {
            (job.until, job.left) = (now + OPEN, allowance(geometry.pieces()));
        }
        self.note(now, at, lacks, store);
        Ok(())
    }

    /// Somebody has asked for parts to all. Says whether it knows the blob.
    pub fn heard_ask(
        &mut self,
        now: Instant,
        ask: &Ask<'_>,
        store: &(impl Store + ?Sized),
    ) -> bool {
        let Some(at) = self.jobs.iter().position(|job| job.keys.tag() == ask.blob) else {
            return false;
        };
        let mut room = [0; LACK * limits::LACKS];
        let keys = self.jobs.get(at).map(|job| job.keys);
        let Some(lacks) = keys.as_ref().and_then(|keys| keys.open_ask(ask, &mut room)) else {
            return false;
        };
        self.note(now, at, lacks, store);
        true
    }

    /// Somebody else says a part: so many fewer are left to say.
    pub fn heard_part(&mut self, now: Instant, part: &Part<'_>) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.keys.tag() == part.blob) else {
            return;
        };
        let mut room = [0; PART];
        if (!job.is_last && job.asked.is_empty()) || job.keys.open_part(part, &mut room).is_none() {
            return;
        }
        job.is_last &= part.number < part.of;
        let is_registry = self.config.rank == Rank::Registry;
        let (said, own) = (&job.said, part.piece);
        let is_new = |piece: u16| is_registry && !said.contains(piece);
        job.asked.retain_mut(|asked| {
            if asked.piece == own {
                asked.parts = asked.parts.saturating_sub(1);
                // Whoever lacks more than the other one says will ask again.
                return asked.parts > 0 && is_new(own);
            }
            if !is_new(asked.piece) {
                // The other one goes on.
                asked.at = asked.at.max(now + BEHIND + asked.wait);
            }
            true
        });
    }

    /// What is to be said now, as a datagram for the group, in `buf`. `scratch` has [`PIECE`] bytes.
    pub fn poll(
        &mut self,
        now: Instant,
        store: &(impl Store + ?Sized),
        scratch: &mut [u8],
        buf: &mut [u8],
    ) -> Option<usize> {
        self.jobs.retain(|job| job.until > now);
        loop {
            let is_due = |asked: &Asked| asked.at <= now;
            let due = |job: &Job| job.asked.iter().position(is_due);
            let at = self.jobs.iter().position(|job| due(job).is_some());
            let at = at.filter(|_| self.next <= now)?;
            let place = self.jobs.get(at).and_then(due)?;
            let goes_on = self.config.rank == Rank::Registry
                || self.jobs.get(at).is_some_and(|job| job.is_last);
            if let Some(len) = self.say(at, place, store, scratch, buf) {
                self.next = now + if goes_on { self.config.pace } else { FIRST };
                return Some(len);
            }
            // It cannot be said.
            self.jobs.get_mut(at)?.asked.remove(place);
        }
    }

    /// When to poll again although nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asked = self.jobs.iter().flat_map(|job| &job.asked);
        asked.map(|asked| asked.at.max(self.next)).min()
    }

    fn say(
        &mut self,
        at: usize,
        place: usize,
        store: &(impl Store + ?Sized),
        scratch: &mut [u8],
        buf: &mut [u8],
    ) -> Option<usize> {
        let id = self.next_id();
        let job = self.jobs.get_mut(at)?;
        let digest = job.digest;
        let geometry = geometry(store.held(&digest))?;
        job.left = job.left.checked_sub(1)?;
        let asked = job.asked.get_mut(place)?;
        let piece = read(store, &digest, &geometry, asked.piece, scratch)?;
        let (of, size) = code::cut(piece.len(), self.config.datagram.checked_sub(AROUND)?)?;
        let number = if asked.next < of {
            asked.next += 1;
            asked.next - 1
        } else {
            self.sum = self.sum.wrapping_add(1).max(of);
            self.sum
        };
        job.is_last = true;
        asked.parts = asked.parts.min(of).saturating_sub(1);
        let number_of_piece = asked.piece;
        if asked.parts == 0 {
            job.said.insert(number_of_piece);
            job.asked.remove(place);
        }
        let mut text = [0; PART];
        let text = text.get_mut(..size)?;
        code::part(piece, of, number, text);
        let part = Part { blob: job.keys.tag(), piece: number_of_piece, number, of, sealed: &[] };
        write_part(&job.keys, &part, text, id, buf)
    }

    fn open(&mut self, now: Instant, digest: &Digest, root: &Digest, pieces: u16) {
        if self.jobs.is_full() {
            let oldest = self.jobs.iter().enumerate().min_by_key(|(_, job)| job.until);
            if let Some((oldest, _)) = oldest {
                self.jobs.remove(oldest);
            }
        }
        let job = Job {
            digest: *digest,
            keys: Keys::new(digest, root),
            until: now + OPEN,
            left: allowance(pieces),
            asked: Vec::new(),
            said: capmesh_blob::Bitmap::EMPTY,
            is_last: false,
        };
        // There is room now.
        let _ = self.jobs.push(job);
    }

    /// Notes what is lacking and is here. What there is no room for is asked for again.
    fn note(&mut self, now: Instant, at: usize, lacks: &[u8], store: &(impl Store + ?Sized)) {
        let wait = self.random_below(self.spread) + BEHIND;
        let prompt = self.random_below(PROMPT);
        let room = self.config.datagram.saturating_sub(AROUND);
        let (Some(job), Some(lacks)) = (self.jobs.get_mut(at), Lack::parse(lacks)) else { return };
        let held = store.held(&job.digest);
        let Some(geometry) = geometry(held) else { return };
        for lack in lacks.filter(|lack| lack.parts > 0 && lack.piece < geometry.pieces()) {
            let is_here = matches!(held, Held::Whole(_)) || store.has(&job.digest, lack.piece);
            let cut = code::cut(geometry.len(lack.piece).into(), room);
            let Some((of, _)) = cut.filter(|_| is_here) else { continue };
            let parts = lack.parts.min(of);
            let wait = match self.config.rank {
                Rank::Registry if !job.said.contains(lack.piece) => Duration::ZERO,
                Rank::Registry => AFTER_NODES,
                Rank::Node if job.is_last => prompt,
                Rank::Node => wait,
            };
            match job.asked.iter_mut().find(|asked| asked.piece == lack.piece) {
                // It is being said.
                Some(asked) if parts == of && asked.next < of => {}
                Some(asked) => asked.parts = asked.parts.max(parts),
                None => {
                    // What several say, since they did not hear each other, is to be of use then, too.
                    let is_repeated = parts < of || self.config.rank == Rank::Node;
                    let next = if is_repeated { of } else { 0 };
                    let asked = Asked { piece: lack.piece, parts, next, at: now + wait, wait };
                    let _ = job.asked.push(asked);
                }
            }
        }
    }

    fn random_below(&mut self, below: Duration) -> Duration {
        self.random =
            self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        below * u32::try_from(self.random >> 48).unwrap_or_default() / (1 << 16)
    }
}

/// How many parts may be said of so many pieces.
fn allowance(pieces: u16) -> u32 {
    let parts = u32::try_from(limits::PARTS).unwrap_or_default();
    u32::from(pieces).saturating_mul(parts * PARTS_EACH)
}

fn geometry(held: Held) -> Option<Geometry> {
    match held {
        Held::Part(geometry) | Held::Whole(geometry) => Some(geometry),
        Held::Nothing | Held::Gone => None,
    }
}

fn read<'b>(
    store: &(impl Store + ?Sized),
    digest: &Digest,
    geometry: &Geometry,
    piece: u16,
    scratch: &'b mut [u8],
) -> Option<&'b [u8]> {
    let bytes = scratch.get_mut(..geometry.len(piece).into())?;
    store.read(digest, geometry.offset(piece), bytes).ok()?;
    Some(bytes)
}
