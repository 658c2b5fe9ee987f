//! The log's bytes.
//!
//! ```text
//! sector  = label, opening, frames; the rest is erased
//! label   = "CML1", erases: u32, crc: u32          written right after an erase
//! opening = seq: u31, copies: u1, crc: u32         written when the first frame is due
//! frame   = tag: u8, check: u8, len: u16, crc: u32, payload of len bytes
//! data    = records; record = kind: u8, action: u8, len: u16, id: u32, value of len bytes
//! floor   = seq: u32                               sectors with lower numbers are dead
//! ```
//! Numbers are little-endian; label, opening and frames each begin at a multiple of the write unit,
//! and no unit is programmed twice. A frame is what is written atomically: its sum covers its sector's
//! number and its place too, so that nothing left of an earlier use is taken for it.

use super::super::config::Geometry;
use super::super::crc::Crc;

/// Bytes of a frame before its payload.
pub(in crate::flash) const FRAME: u32 = 8;

/// Bytes of a record before its value.
pub(in crate::flash) const RECORD: u32 = 8;

/// The greatest number of a sector: more than flash of any endurance reaches.
pub(super) const MAX_SEQ: u32 = (u32::MAX >> 1) - 1;

const MAGIC: [u8; 4] = *b"CML1";
const LABEL: u32 = 12;
const OPENING: u32 = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Data = 0x5a,
    Floor = 0x36,
}

/// Where a sector's opening is.
pub(super) const fn opening_at(geometry: &Geometry) -> u32 {
    geometry.align(LABEL)
}

/// Where a sector's frames begin.
pub(in crate::flash) const fn data_at(geometry: &Geometry) -> u32 {
    geometry.align(LABEL) + geometry.align(OPENING)
}

/// `len` bytes from `at` on; nothing if that is not inside.
pub(in crate::flash) fn slice(bytes: &[u8], at: u32, len: u32) -> &[u8] {
    let at = at as usize;
    let end = at.saturating_add(len as usize);
    bytes.get(at..end).unwrap_or_default()
}

/// Whether all of it is erased.
pub(in crate::flash) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

fn word(bytes: &[u8], at: u32) -> Option<u32> {
    Some(u32::from_le_bytes(*slice(bytes, at, 4).first_chunk()?))
}

/// A label for a sector that was erased so many times. Sums over geometry make a label worthless
/// under another one.
pub(super) fn label(geometry: &Geometry, erases: u32) -> [u8; LABEL as usize] {
    let [a, b, c, d] = MAGIC;
    let [e, f, g, h] = erases.to_le_bytes();
    let crc = Crc::new().update(&MAGIC).word(erases).word(geometry.sector).word(geometry.unit);
    let [i, j, k, l] = crc.finish().to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// How often a sector was erased, if its label is whole.
pub(super) fn read_label(geometry: &Geometry, sector: &[u8]) -> Option<u32> {
    let erases = word(sector, 4)?;
    (slice(sector, 0, LABEL) == label(geometry, erases)).then_some(erases)
}

/// What a sector is when it is taken into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Its number: the higher, the newer.
    pub(super) seq: u32,
    /// Whether it was the last erased one, taken by a compaction: up to the first floor in it there
    /// are only copies of what is still elsewhere.
    pub(super) copies: bool,
}

pub(super) fn opening(opening: Opening) -> [u8; OPENING as usize] {
    let word = opening.seq << 1 | u32::from(opening.copies);
    let [a, b, c, d] = word.to_le_bytes();
    let [e, f, g, h] = Crc::new().word(word).finish().to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// A sector's opening, if it is whole.
pub(super) fn read_opening(geometry: &Geometry, sector: &[u8]) -> Option<Opening> {
    let at = opening_at(geometry);
    let word = word(sector, at)?;
    let found = Opening { seq: word >> 1, copies: word & 1 == 1 };
    // The sum of four erased bytes is four erased bytes: the bound keeps them out.
    (found.seq <= MAX_SEQ && slice(sector, at, OPENING) == opening(found)).then_some(found)
}

/// The beginning of a frame, and the sum as far as it goes without the payload.
fn head(seq: u32, at: u32, tag: u8, len: u16) -> ([u8; 4], Crc) {
    let [low, high] = len.to_le_bytes();
    let crc = Crc::new().word(seq).word(at).update(&[tag, low, high]);
    let [check, ..] = crc.finish().to_le_bytes();
    ([tag, check, low, high], crc)
}

/// What stands before a payload of `len` bytes, whose parts `each_part` goes through, at `at` in the
/// sector.
pub(super) fn frame_header(
    seq: u32,
    at: u32,
    tag: Tag,
    len: u16,
    each_part: impl FnOnce(&mut dyn FnMut(&[u8])),
) -> [u8; FRAME as usize] {
    let ([a, b, c, d], mut crc) = head(seq, at, tag as u8, len);
    each_part(&mut |part| crc = crc.update(part));
    let [e, f, g, h] = crc.finish().to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// A frame whose sum is right, or a place where one was to be.
#[derive(Clone, Copy)]
pub(super) enum Found<'f> {
    /// Records.
    Data(Records<'f>),
    /// Sectors with lower numbers are dead.
    Floor(u32),
    /// Torn or spoilt; what follows may be good.
    Spoilt,
}

/// Goes through the frames of a sector. The work of all steps together is bounded by its bytes.
#[derive(Clone, Copy)]
pub(super) struct Frames<'f> {
    geometry: Geometry,
    sector: &'f [u8],
    seq: u32,
    at: u32,
    /// Whether a length was torn, so that nothing can be told of what follows.
    lost: bool,
}

impl<'f> Frames<'f> {
    /// From `at` in the sector on.
    pub(super) const fn new(geometry: Geometry, sector: &'f [u8], seq: u32, at: u32) -> Self {
        Self { geometry, sector, seq, at, lost: false }
    }

    /// Where the next frame is in the sector.
    pub(super) const fn at(&self) -> u32 {
        self.at
    }

    /// Where a frame can be appended, once the last one has been seen: what follows is erased.
    pub(super) fn end(&self) -> Option<u32> {
        let rest = self.sector.get(self.at as usize..)?;
        (!self.lost && is_blank(rest)).then_some(self.at)
    }
}

impl<'f> Iterator for Frames<'f> {
    type Item = Found<'f>;

    fn next(&mut self) -> Option<Found<'f>> {
        let header = slice(self.sector, self.at, FRAME);
        let [tag, check, low, high, sum @ ..] = *header.first_chunk::<{ FRAME as usize }>()?;
        if self.lost || is_blank(header) {
            return None;
        }
        let len = u16::from_le_bytes([low, high]);
        let ([_, expected, ..], crc) = head(self.seq, self.at, tag, len);
        let payload = slice(self.sector, self.at + FRAME, u32::from(len));
        if check != expected || payload.len() != usize::from(len) {
            self.lost = true;
            return Some(Found::Spoilt);
        }
        let place = self.at + FRAME;
        self.at += self.geometry.align(FRAME + u32::from(len));
        if crc.update(payload).finish() != u32::from_le_bytes(sum) {
            return Some(Found::Spoilt);
        }
        Some(match (tag, word(payload, 0)) {
            (tag, _) if tag == Tag::Data as u8 => Found::Data(Records { payload, place }),
            (tag, Some(floor)) if tag == Tag::Floor as u8 => Found::Floor(floor),
            _ => Found::Spoilt,
        })
    }
}

/// What a record says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Put = 0,
    Delete = 1,
}

/// A record in a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'f> {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) action: Action,
    /// Header and value.
    pub(super) bytes: &'f [u8],
    /// Where it is in what the payload's place is counted in.
    pub(super) at: u32,
    /// Bytes of its value.
    pub(super) len: u16,
}

/// The header of a record.
pub(super) fn record_header(kind: u8, action: Action, len: u16, id: u32) -> [u8; RECORD as usize] {
    let [low, high] = len.to_le_bytes();
    let [a, b, c, d] = id.to_le_bytes();
    [kind, action as u8, low, high, a, b, c, d]
}

/// Goes through the records of a payload; ends where something is no record.
#[derive(Clone, Copy)]
pub(super) struct Records<'f> {
    payload: &'f [u8],
    place: u32,
}

impl<'f> Records<'f> {
    /// The records of a payload that begins at `place`.
    pub(super) const fn new(payload: &'f [u8], place: u32) -> Self {
        Self { payload, place }
    }

    /// The same, with the payload's place counted from `base` bytes further ahead.
    pub(super) const fn from(self, base: u32) -> Self {
        Self { payload: self.payload, place: self.place + base }
    }
}

impl<'f> Iterator for Records<'f> {
    type Item = Record<'f>;

    fn next(&mut self) -> Option<Record<'f>> {
        let [kind, action, low, high, id @ ..] = *self.payload.first_chunk::<8>()?;
        let action = match action {
            0 => Action::Put,
            1 => Action::Delete,
            _ => return None,
        };
        let len = u16::from_le_bytes([low, high]);
        let whole = RECORD + u32::from(len);
        let (bytes, rest) = self.payload.split_at_checked(whole as usize)?;
        let at = self.place;
        self.payload = rest;
        self.place += whole;
        Some(Record { kind, id: u32::from_le_bytes(id), action, bytes, at, len })
    }
}
