//! Writing, one token at a time.

use super::Overflow;
use super::float::Shortest;
use super::reader::length;
use core::fmt;
use minicbor::encode::write::Cursor;
use minicbor::encode::{Encoder, Write};

/// Writes CBOR to a borrowed buffer. Lengths, integers and floats come out in their shortest form;
/// the order of map keys is the caller's to keep.
pub struct Writer<'b> {
    tokens: Encoder<Cursor<&'b mut [u8]>>,
}

impl<'b> Writer<'b> {
    /// Writes to the start of `buf`.
    #[must_use]
    pub fn new(buf: &'b mut [u8]) -> Self {
        Self { tokens: Encoder::new(Cursor::new(buf)) }
    }

    /// How many bytes have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.writer().position()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.tokens.writer().get_ref().get(..self.len()).unwrap_or_default()
    }

    /// Takes back everything behind the first `len` bytes, for instance a list's last item that did
    /// not fit.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.tokens.writer_mut().set_position(len);
        }
    }

    /// Replaces a byte that has been written, for instance a count that is known only later.
    pub fn patch(&mut self, at: usize, byte: u8) {
        if at < self.len()
            && let Some(place) = self.tokens.writer_mut().get_mut().get_mut(at)
        {
            *place = byte;
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn uint(&mut self, value: u64) -> Result<&mut Self, Overflow> {
        self.tokens.u64(value).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// An integer of either sign.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn int(&mut self, value: i64) -> Result<&mut Self, Overflow> {
        self.tokens.i64(value).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// `false` or `true`.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn bool(&mut self, value: bool) -> Result<&mut Self, Overflow> {
        self.tokens.bool(value).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// `null`.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn null(&mut self) -> Result<&mut Self, Overflow> {
        self.tokens.null().map_err(|_| Overflow)?;
        Ok(self)
    }

    /// A float. Every NaN is written as the same one.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn float(&mut self, value: f64) -> Result<&mut Self, Overflow> {
        match Shortest::of(value) {
            Shortest::Half(half) => {
                let [a, b] = half.to_be_bytes();
                self.raw(&[0xf9, a, b])?;
            }
            Shortest::Single(value) => {
                self.tokens.f32(value).map_err(|_| Overflow)?;
            }
            Shortest::Double(value) => {
                self.tokens.f64(value).map_err(|_| Overflow)?;
            }
        }
        Ok(self)
    }

    /// A byte string.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn bytes(&mut self, value: &[u8]) -> Result<&mut Self, Overflow> {
        self.tokens.bytes(value).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// The head of a byte string of `len` bytes, which the caller writes with [`Writer::raw`].
    ///
    /// # Errors
    /// If the head does not fit.
    pub fn bytes_head(&mut self, len: usize) -> Result<&mut Self, Overflow> {
        self.tokens.bytes_len(length(len)).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// A text string.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn text(&mut self, value: &str) -> Result<&mut Self, Overflow> {
        self.tokens.str(value).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// The head of an array of `count` items.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn array(&mut self, count: usize) -> Result<&mut Self, Overflow> {
        self.tokens.array(length(count)).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// The head of a map of `count` pairs.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn map(&mut self, count: usize) -> Result<&mut Self, Overflow> {
        self.tokens.map(length(count)).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// A tag; the tagged item follows.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn tag(&mut self, tag: u64) -> Result<&mut Self, Overflow> {
        self.tokens.tag(minicbor::data::Tag::new(tag)).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// Bytes as they are: an item that is encoded already.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<&mut Self, Overflow> {
        self.tokens.writer_mut().write_all(bytes).map_err(|_| Overflow)?;
        Ok(self)
    }

    /// A byte string around what `content` writes (CDDL's `bstr .cbor`). The bytes are moved once
    /// if their length needs a longer head than one byte.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn wrapped(
        &mut self,
        content: impl FnOnce(&mut Self) -> Result<(), Overflow>,
    ) -> Result<&mut Self, Overflow> {
        let start = self.len();
        // Reserve the longest head that a datagram can need, then close the gap.
        const GAP: usize = 3;
        self.raw(&[0; GAP])?;
        content(self)?;
        let end = self.len();
        let len = end - start - GAP;
        self.truncate(start);
        self.bytes_head(len)?;
        let content_at = self.len();
        if content_at > start + GAP {
            return Err(Overflow);
        }
        let buf = self.tokens.writer_mut().get_mut();
        buf.copy_within(start + GAP..end, content_at);
        self.tokens.writer_mut().set_position(content_at + len);
        Ok(self)
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({:02x?})", self.written())
    }
}
