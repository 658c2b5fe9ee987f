//! Writing, one token at a time.

use super::Overflow;
use super::float::Shortest;
use super::reader::{Major, length};
use core::fmt;

/// Writes deterministic CBOR to a borrowed buffer: lengths, integers and floats in their shortest
/// form. The order of map keys is the caller's to keep.
///
/// It remembers when something did not fit, and writes nothing from then on; callers look once, with
/// [`Writer::finish`] or [`Writer::status`].
pub struct Writer<'b> {
    buf: &'b mut [u8],
    /// Never past the end.
    len: usize,
    has_overflowed: bool,
}

impl<'b> Writer<'b> {
    /// Writes to the start of `buf`.
    #[must_use]
    pub fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, len: 0, has_overflowed: false }
    }

    /// Whether all has fitted so far.
    ///
    /// # Errors
    /// If it has not.
    pub const fn status(&self) -> Result<(), Overflow> {
        if self.has_overflowed { Err(Overflow) } else { Ok(()) }
    }

    /// Ends the writing, and gives the length of what was written.
    ///
    /// # Errors
    /// If it did not fit; the buffer then holds the part that did.
    pub fn finish(&self) -> Result<usize, Overflow> {
        self.status().map(|()| self.len)
    }

    /// How many bytes have been written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Takes back everything behind the first `len` bytes, and that it did not fit: for instance a
    /// list's last item.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.has_overflowed = false;
    }

    /// Replaces a byte that has been written, for instance a count that is known only later.
    pub fn patch(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.buf.get_mut(..self.len).and_then(|written| written.get_mut(at)) {
            *place = byte;
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(Major::Unsigned, value)
    }

    /// An integer of either sign.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(Major::Unsigned, value),
            // -1 - n, as the encoding has it.
            Err(_) => self.head(Major::Negative, (!value).unsigned_abs()),
        }
    }

    /// `false` or `true`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(&[0xf4 | u8::from(value)])
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.raw(&[0xf6])
    }

    /// A float. Every NaN is written as the same one.
    pub fn float(&mut self, value: f64) -> &mut Self {
        match Shortest::of(value) {
            Shortest::Half(half) => self.raw(&[0xf9]).raw(&half.to_be_bytes()),
            Shortest::Single(value) => self.raw(&[0xfa]).raw(&value.to_be_bytes()),
            Shortest::Double(value) => self.raw(&[0xfb]).raw(&value.to_be_bytes()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.bytes_head(value.len()).raw(value)
    }

    /// The head of a byte string of `len` bytes, which the caller writes with [`Writer::raw`].
    pub fn bytes_head(&mut self, len: usize) -> &mut Self {
        self.head(Major::Bytes, length(len))
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(Major::Text, length(value.len())).raw(value.as_bytes())
    }

    /// The head of an array of `count` items.
    pub fn array(&mut self, count: usize) -> &mut Self {
        self.head(Major::Array, length(count))
    }

    /// The head of a map of `count` pairs.
    pub fn map(&mut self, count: usize) -> &mut Self {
        self.head(Major::Map, length(count))
    }

    /// A tag; the tagged item follows.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(Major::Tag, tag)
    }

    /// Bytes as they are: an item that is encoded already.
    #[inline(never)]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match self.buf.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) if !self.has_overflowed => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.has_overflowed = true,
        }
        self
    }

    /// A byte string around what `content` writes (CDDL's `bstr .cbor`). While it is written it takes
    /// up to two bytes more than in the end.
    pub fn wrapped(&mut self, content: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.len;
        // The longest head that a document can need; the gap is closed afterwards.
        const GAP: usize = 3;
        self.raw(&[0; GAP]);
        content(self);
        if self.has_overflowed {
            return self;
        }
        let content = start + GAP..self.len;
        self.len = start;
        self.bytes_head(content.len());
        let content_at = self.len;
        self.len += content.len();
        if content_at > content.start {
            self.has_overflowed = true;
        } else {
            self.buf.copy_within(content, content_at);
        }
        self
    }

    #[inline(never)]
    fn head(&mut self, major: Major, argument: u64) -> &mut Self {
        let major = (major as u8) << 5;
        let [.., a, b, c, d, e, f, g, h] = argument.to_be_bytes();
        match argument {
            0..=0x17 => self.raw(&[major | h]),
            0x18..=0xff => self.raw(&[major | 24, h]),
            0x100..=0xffff => self.raw(&[major | 25, g, h]),
            0x1_0000..=0xffff_ffff => self.raw(&[major | 26, e, f, g, h]),
            _ => self.raw(&[major | 27, a, b, c, d, e, f, g, h]),
        }
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({:02x?})", self.written())
    }
}
