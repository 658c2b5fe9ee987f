//! Writing a message into a buffer of the caller's.

use super::{Code, Kind, Message, Options, Token};
use crate::option::{OptionNumber, encode_uint};
use core::fmt;

/// The buffer is too small for what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message does not fit its buffer")
    }
}

impl core::error::Error for Overflow {}

/// Writes one message front to back: header and token at once, then options, then the payload.
///
/// Options may be added in any order: one that sorts before others already written is inserted,
/// behind those of the same number. A failed call leaves the message as it was.
#[derive(Debug)]
pub struct MessageWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
    options_at: usize,
    /// The last option's number, to append without a search.
    last: u16,
    /// Where the payload starts, once its marker is written.
    payload_at: Option<usize>,
}

impl<'a> MessageWriter<'a> {
    /// Starts a message in `buf`, of which no more than 65,535 bytes are used.
    ///
    /// # Errors
    /// If the header and the token do not fit.
    pub fn new(
        buf: &'a mut [u8],
        kind: Kind,
        code: Code,
        id: u16,
        token: Token,
    ) -> Result<Self, Overflow> {
        let [id_high, id_low] = id.to_be_bytes();
        let token = token.as_bytes();
        let token_len = u8::try_from(token.len()).map_err(|_| Overflow)?;
        let header = [0x40 | kind.bits() << 4 | token_len, code.0, id_high, id_low];
        let mut writer =
            Self { buf, len: 0, options_at: 4 + token.len(), last: 0, payload_at: None };
        writer.append(&header)?;
        writer.append(token)?;
        Ok(writer)
    }

    /// Changes the code.
    pub fn set_code(&mut self, code: Code) {
        if let Some(byte) = self.buf.get_mut(1) {
            *byte = code.0;
        }
    }

    /// Adds an option.
    ///
    /// # Errors
    /// If it does not fit, or if the payload has been started (a message cannot grow options then).
    pub fn option(&mut self, number: OptionNumber, value: &[u8]) -> Result<&mut Self, Overflow> {
        if self.payload_at.is_some() {
            return Err(Overflow);
        }
        if number.0 < self.last {
            self.insert(number, value)?;
        } else {
            let mut head = [0; 5];
            let head = option_head(number.0 - self.last, value.len(), &mut head)?;
            if self.room() < head.len() + value.len() {
                return Err(Overflow);
            }
            self.append(head)?;
            self.append(value)?;
            self.last = number.0;
        }
        Ok(self)
    }

    /// Adds an option of format uint, in its shortest form.
    ///
    /// # Errors
    /// As [`MessageWriter::option`].
    pub fn option_uint(&mut self, number: OptionNumber, value: u32) -> Result<&mut Self, Overflow> {
        let mut bytes = [0; 4];
        self.option(number, encode_uint(value, &mut bytes))
    }

    /// Adds one option for each segment of `path`, which is split at `/`; empty segments at either
    /// end are left out, so that `/a/b` and `a/b` are the same path.
    ///
    /// # Errors
    /// As [`MessageWriter::option`].
    pub fn path(&mut self, path: &str) -> Result<&mut Self, Overflow> {
        // Bytes, since searching text takes more code.
        let mut path = path.as_bytes();
        while let [b'/', rest @ ..] | [rest @ .., b'/'] = path {
            path = rest;
        }
        if !path.is_empty() {
            for segment in path.split(|byte| *byte == b'/') {
                self.option(OptionNumber::URI_PATH, segment)?;
            }
        }
        Ok(self)
    }

    /// Appends to the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn payload(&mut self, bytes: &[u8]) -> Result<&mut Self, Overflow> {
        self.payload_room(bytes.len())?.copy_from_slice(bytes);
        Ok(self)
    }

    /// Appends `len` bytes to the payload for the caller to fill in; they hold what was there.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn payload_room(&mut self, len: usize) -> Result<&mut [u8], Overflow> {
        if len == 0 {
            return Ok(&mut []);
        }
        let marker = usize::from(self.payload_at.is_none());
        if self.room() < len + marker {
            return Err(Overflow);
        }
        if marker == 1 {
            self.append(&[Options::MARKER])?;
            self.payload_at = Some(self.len);
        }
        let start = self.len;
        self.len += len;
        self.buf.get_mut(start..self.len).ok_or(Overflow)
    }

    /// Takes back all options and the payload.
    pub const fn clear(&mut self) {
        self.len = self.options_at;
        self.last = 0;
        self.payload_at = None;
    }

    /// The payload so far, to be changed.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let at = self.payload_at.unwrap_or(self.len);
        self.buf.get_mut(at..self.len).unwrap_or_default()
    }

    /// Shortens the payload to `len` bytes, if it is longer.
    pub fn truncate_payload(&mut self, len: usize) {
        if let Some(at) = self.payload_at {
            self.len = self.len.min(at + len);
            if self.len == at {
                // A marker with nothing behind it would be a format error.
                self.len -= 1;
                self.payload_at = None;
            }
        }
    }

    /// Calls `change` with each option in order. Values can be changed, their lengths cannot.
    pub fn change_options(&mut self, mut change: impl FnMut(OptionNumber, &mut [u8])) {
        let (mut at, end) = self.parts();
        let mut number = 0;
        while at < end {
            let rest = self.buf.get(at..end).unwrap_or_default();
            let mut options = Options::new(rest);
            let Some((delta, value)) = options.next() else { return };
            number += delta.0;
            let (len, after) = (value.len(), end - options.rest().len());
            at = after;
            change(OptionNumber(number), self.buf.get_mut(after - len..after).unwrap_or_default());
        }
    }

    /// How many more bytes fit, payload marker included.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// What has been written, as a message.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        let (options_at, options_end) = self.parts();
        Message::from_parts(self.buf.get(..self.len).unwrap_or_default(), options_at, options_end)
    }

    /// Ends writing; the message borrows the buffer for as long as the writer did.
    #[must_use]
    pub fn into_message(self) -> Message<'a> {
        let (options_at, options_end) = self.parts();
        let written: &'a [u8] = self.buf;
        Message::from_parts(written.get(..self.len).unwrap_or_default(), options_at, options_end)
    }

    /// The message's length in bytes.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.len
    }

    /// Where the options start and end.
    fn parts(&self) -> (usize, usize) {
        (self.options_at, self.payload_at.map_or(self.len, |at| at - 1))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Puts an option before the first one with a greater number, whose delta then shrinks.
    fn insert(&mut self, number: OptionNumber, value: &[u8]) -> Result<(), Overflow> {
        let options = self.buf.get(self.options_at..self.len).unwrap_or_default();
        let mut walk = Options::new(options);
        let mut previous = 0;
        let (at, next, next_value_len, next_end) = loop {
            let at = self.len - walk.rest().len();
            match walk.next() {
                Some((n, v)) if n > number => {
                    break (at, n, v.len(), self.len - walk.rest().len());
                }
                Some((n, _)) => previous = n.0,
                None => return Err(Overflow),
            }
        };
        let (mut head, mut next_head) = ([0; 5], [0; 5]);
        let head = option_head(number.0 - previous, value.len(), &mut head)?;
        let next_head = option_head(next.0 - number.0, next_value_len, &mut next_head)?;
        let next_value_at = next_end - next_value_len;
        let new_value_at = at + head.len() + value.len() + next_head.len();
        let new_len = self.len - next_value_at + new_value_at;
        if new_len > self.buf.len() {
            return Err(Overflow);
        }
        // Byte by byte from the end: it is seldom needed, and `memmove` is large.
        let shift = new_value_at - next_value_at;
        for from in (next_value_at..self.len).rev() {
            let byte = self.buf.get(from).copied().unwrap_or_default();
            if let Some(to) = self.buf.get_mut(from + shift) {
                *to = byte;
            }
        }
        self.len = at;
        self.append(head)?;
        self.append(value)?;
        self.append(next_head)?;
        self.len = new_len;
        Ok(())
    }
}

/// Encodes an option's delta and length (RFC 7252 section 3.1), for those who write options without
/// a message around them, as OSCORE's plaintext has them.
///
/// # Errors
/// If `len` is more than 65,535.
pub fn option_head(delta: u16, len: usize, head: &mut [u8; 5]) -> Result<&[u8], Overflow> {
    let len = u16::try_from(len).map_err(|_| Overflow)?;
    let (delta_nibble, delta_ext, delta_bytes) = nibble(delta);
    let (len_nibble, len_ext, len_bytes) = nibble(len);
    let parts = [
        &[delta_nibble << 4 | len_nibble][..],
        delta_bytes.get(2 - delta_ext..).unwrap_or_default(),
        len_bytes.get(2 - len_ext..).unwrap_or_default(),
    ];
    let mut at = 0;
    for part in parts {
        head.get_mut(at..at + part.len()).ok_or(Overflow)?.copy_from_slice(part);
        at += part.len();
    }
    head.get(..at).ok_or(Overflow)
}

/// A nibble, the length of its extension, and the extension right-aligned.
const fn nibble(value: u16) -> (u8, usize, [u8; 2]) {
    match value {
        0..=12 => (value.to_be_bytes()[1], 0, [0; 2]),
        13..=268 => (13, 1, (value - 13).to_be_bytes()),
        _ => (14, 2, (value - 269).to_be_bytes()),
    }
}
