//! Between inner and outer messages: which field goes where (RFC 8613 sections 4 and 5.3).

use crate::aead::{self, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::class::{Class, class};
use crate::crypto::Aad;
use crate::error::{ProtectError, UnprotectError};
use crate::uri::ProxyUri;
use capmesh_coap::message::{Code, Message, Options, Overflow, option_head};
use capmesh_coap::option::{OptionNumber, encode_uint};
use core::ops::Range;

/// What a message is encrypted with.
pub(crate) struct Cipher<'k> {
    pub(crate) key: &'k [u8; KEY_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) aad: Aad,
}

/// What surrounds the ciphertext.
pub(crate) struct Wrapping<'a> {
    /// The value of the OSCORE option.
    pub(crate) header: &'a [u8],
    /// EDHOC message_3 to send along (RFC 9668), a CBOR byte string, or empty.
    pub(crate) message_3: &'a [u8],
}

/// Writes the outer message of `inner` to `out` and returns its length.
pub(crate) fn seal(
    inner: Message<'_>,
    wrapping: &Wrapping<'_>,
    cipher: &Cipher<'_>,
    out: &mut [u8],
) -> Result<usize, ProtectError> {
    let proxy_uri = match inner.option(OptionNumber::PROXY_URI) {
        Some(uri) => ProxyUri::parse(uri)?,
        None => ProxyUri::default(),
    };
    let mut cursor = Cursor { buf: out, at: 0, last: 0 };
    write_outer(&mut cursor, inner, wrapping, proxy_uri.origin)?;
    cursor.put(&[Options::MARKER])?;
    cursor.put(wrapping.message_3)?;
    let start = cursor.at;
    write_plaintext(&mut cursor, inner, proxy_uri)?;
    cursor.put(&[0; TAG_LEN])?;
    let len = cursor.at;
    let sealed = out.get_mut(start..len).ok_or(Overflow)?;
    let (text, tag) = sealed.split_last_chunk_mut().ok_or(Overflow)?;
    *tag = aead::seal(cipher.key, &cipher.nonce, cipher.aad.as_bytes(), text).ok_or(Overflow)?;
    Ok(len)
}

/// The outer message up to its payload marker.
fn write_outer(
    cursor: &mut Cursor<'_>,
    inner: Message<'_>,
    wrapping: &Wrapping<'_>,
    origin: &[u8],
) -> Result<(), ProtectError> {
    cursor.header(inner, outer_code(inner))?;
    // Options of our own, until they are written.
    let mut oscore = Some(wrapping.header);
    let mut edhoc = Some(&[][..]).filter(|_| !wrapping.message_3.is_empty());
    for (number, value) in inner.options() {
        match class(number) {
            Class::Hop => return Err(ProtectError::Nested),
            Class::E if number != OptionNumber::OBSERVE => continue,
            Class::E | Class::U => {}
        }
        cursor.option_before(number, OptionNumber::OSCORE, &mut oscore)?;
        cursor.option_before(number, OptionNumber::EDHOC, &mut edhoc)?;
        let is_uri = number == OptionNumber::PROXY_URI;
        cursor.option(number, if is_uri { origin } else { value })?;
    }
    let end = OptionNumber(u16::MAX);
    cursor.option_before(end, OptionNumber::OSCORE, &mut oscore)?;
    cursor.option_before(end, OptionNumber::EDHOC, &mut edhoc)?;
    Ok(())
}

/// The code that proxies see (RFC 8613 section 4.2; with Observe, section 4.1.3.5).
fn outer_code(inner: Message<'_>) -> Code {
    let observe = inner.option(OptionNumber::OBSERVE).is_some();
    match (inner.code().is_request(), observe) {
        (true, false) => Code::POST,
        (true, true) => Code::FETCH,
        (false, false) => Code::CHANGED,
        (false, true) => Code::CONTENT,
    }
}

/// Code, options of class E and payload (RFC 8613 section 5.3).
fn write_plaintext(
    cursor: &mut Cursor<'_>,
    inner: Message<'_>,
    mut proxy_uri: ProxyUri<'_>,
) -> Result<(), ProtectError> {
    let is_response = inner.code().is_response();
    let has_path = !proxy_uri.is_bare();
    cursor.put(&[inner.code().0])?;
    cursor.last = 0;
    for (number, value) in inner.options().filter(|(number, _)| class(*number) == Class::E) {
        proxy_uri.write_before(Some(number), cursor)?;
        match number {
            // RFC 7252 section 5.10.2 excludes them beside a Proxy-Uri that has its own.
            OptionNumber::URI_PATH | OptionNumber::URI_QUERY if has_path => {
                return Err(ProtectError::ProxyUri);
            }
            OptionNumber::OBSERVE if is_response => cursor.option(number, &[])?,
            _ => cursor.option(number, value)?,
        }
    }
    proxy_uri.write_before(None, cursor)?;
    if !inner.payload().is_empty() {
        cursor.put(&[Options::MARKER])?;
        cursor.put(inner.payload())?;
    }
    Ok(())
}

/// Decrypts `outer` to the end of `scratch` and returns where the plaintext starts.
pub(crate) fn decrypt(
    outer: Message<'_>,
    cipher: &Cipher<'_>,
    scratch: &mut [u8],
) -> Result<usize, UnprotectError> {
    let (_, ciphertext) = split_combined(&outer)?;
    let (ciphertext, tag) =
        ciphertext.split_last_chunk::<TAG_LEN>().ok_or(UnprotectError::Decryption)?;
    if scratch.len() < outer.as_bytes().len() {
        return Err(UnprotectError::Overflow);
    }
    let start = scratch.len() - ciphertext.len();
    let plaintext = scratch.get_mut(start..).unwrap_or_default();
    plaintext.copy_from_slice(ciphertext);
    aead::open(cipher.key, &cipher.nonce, cipher.aad.as_bytes(), plaintext, tag)
        .ok_or(UnprotectError::Decryption)?;
    Ok(start)
}

/// Writes the inner message of `outer`, whose plaintext is at the end of `scratch` from `start` on,
/// to the start of `scratch`. With `observe`, an Observe option in it gets that value.
///
/// The plaintext moves to the front option by option, where outer options join it. The writer never
/// catches up with the reader: they start as far apart as the outer message is longer than its
/// ciphertext, and only what stood there is written between.
pub(crate) fn assemble<'b>(
    outer: Message<'_>,
    start: usize,
    observe: Option<u32>,
    scratch: &'b mut [u8],
) -> Result<Message<'b>, UnprotectError> {
    let code = *scratch.get(start).ok_or(UnprotectError::Malformed)?;
    let mut cursor = Cursor { buf: scratch, at: 0, last: 0 };
    cursor.header(outer, Code(code)).map_err(|_| UnprotectError::Malformed)?;
    let len = merge(&mut cursor, outer, start + 1, observe)?;
    let inner = scratch.get(..len).unwrap_or_default();
    Message::parse(inner).map_err(|_| UnprotectError::Malformed)
}

/// Joins options of class U of `outer` and the plaintext from `read` on, and returns the end.
fn merge(
    cursor: &mut Cursor<'_>,
    outer: Message<'_>,
    mut read: usize,
    observe: Option<u32>,
) -> Result<usize, UnprotectError> {
    let malformed = |_| UnprotectError::Malformed;
    let mut outer = outer.options().filter(|(n, _)| class(*n) == Class::U).peekable();
    let mut number = OptionNumber(0);
    loop {
        let rest = cursor.buf.get(read..).unwrap_or_default();
        let mut one = Options::new(rest);
        let Some((delta, value)) = one.try_next().map_err(|_| UnprotectError::Malformed)? else {
            break;
        };
        let end = cursor.buf.len() - one.rest().len();
        let value = end - value.len()..end;
        number = OptionNumber(number.0.checked_add(delta.0).ok_or(UnprotectError::Malformed)?);
        read = end;
        while let Some((n, v)) = outer.next_if(|(n, _)| *n <= number) {
            cursor.option(n, v).map_err(malformed)?;
        }
        match (class(number), observe) {
            (Class::E, Some(observe)) if number == OptionNumber::OBSERVE => {
                let mut buf = [0; 4];
                cursor.option(number, encode_uint(observe, &mut buf)).map_err(malformed)?;
            }
            (Class::E, _) => cursor.take(number, value).map_err(malformed)?,
            // A peer that does not know the option's class put it here; nothing is lost with it.
            (Class::U | Class::Hop, _) if !number.is_critical() => {}
            (Class::U | Class::Hop, _) => return Err(UnprotectError::Malformed),
        }
    }
    for (n, v) in outer {
        cursor.option(n, v).map_err(malformed)?;
    }
    let payload = read..cursor.buf.len();
    cursor.copy(payload).map_err(malformed)?;
    Ok(cursor.at)
}

/// Splits the payload of an outer message into EDHOC message_3 and the OSCORE ciphertext (RFC 9668
/// section 3). The first part is empty if there is no EDHOC option; it is a whole CBOR byte string
/// otherwise.
///
/// # Errors
/// [`UnprotectError::Decode`] if there is an EDHOC option and no byte string.
pub fn split_combined<'a>(outer: &Message<'a>) -> Result<(&'a [u8], &'a [u8]), UnprotectError> {
    let payload = outer.payload();
    if outer.option(OptionNumber::EDHOC).is_none() {
        return Ok((&[], payload));
    }
    let len = match *payload {
        [len @ 0x40..=0x57, ..] => 1 + usize::from(len - 0x40),
        [0x58, len, ..] => 2 + usize::from(len),
        [0x59, high, low, ..] => 3 + usize::from(u16::from_be_bytes([high, low])),
        _ => return Err(UnprotectError::Decode),
    };
    payload.split_at_checked(len).ok_or(UnprotectError::Decode)
}

/// Writes front to back, perhaps over bytes that are still to be read behind it.
pub(crate) struct Cursor<'a> {
    buf: &'a mut [u8],
    at: usize,
    /// The last option's number.
    last: u16,
}

impl Cursor<'_> {
    /// Header and token of `like`, with another code.
    fn header(&mut self, like: Message<'_>, code: Code) -> Result<(), Overflow> {
        let len = 4 + like.token().as_bytes().len();
        self.put(like.as_bytes().get(..len).unwrap_or_default())?;
        if let Some(byte) = self.buf.get_mut(1) {
            *byte = code.0;
        }
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.at + bytes.len();
        self.buf.get_mut(self.at..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn option(&mut self, number: OptionNumber, value: &[u8]) -> Result<(), Overflow> {
        self.option_head(number, value.len())?;
        self.put(value)
    }

    /// Writes the option `own` unless that was done or it sorts behind `next`.
    fn option_before(
        &mut self,
        next: OptionNumber,
        own: OptionNumber,
        value: &mut Option<&[u8]>,
    ) -> Result<(), Overflow> {
        match value.take_if(|_| own < next) {
            Some(value) => self.option(own, value),
            None => Ok(()),
        }
    }

    /// Begins an option whose value of `len` bytes follows.
    pub(crate) fn option_head(&mut self, number: OptionNumber, len: usize) -> Result<(), Overflow> {
        let mut head = [0; 5];
        let delta = number.0.checked_sub(self.last).ok_or(Overflow)?;
        self.put(option_head(delta, len, &mut head)?)?;
        self.last = number.0;
        Ok(())
    }

    /// Moves an option with this value, from further behind in the buffer.
    fn take(&mut self, number: OptionNumber, value: Range<usize>) -> Result<(), Overflow> {
        self.option_head(number, value.len())?;
        self.copy(value)
    }

    /// Moves bytes from further behind in the buffer.
    fn copy(&mut self, from: Range<usize>) -> Result<(), Overflow> {
        if from.start < self.at || from.end > self.buf.len() || from.start > from.end {
            return Err(Overflow);
        }
        // By way of a little room, which is smaller than `memmove`.
        let mut room = [0; 32];
        let mut start = from.start;
        while start < from.end {
            let len = room.len().min(from.end - start);
            let piece = room.get_mut(..len).ok_or(Overflow)?;
            piece.copy_from_slice(self.buf.get(start..start + len).ok_or(Overflow)?);
            self.put(piece)?;
            start += len;
        }
        Ok(())
    }
}

/// The value that Observe gets in a notification: the end of its Partial IV (RFC 8613 section
/// 4.1.3.5.2), nothing if it has none.
pub(crate) fn observe_value(piv: Option<u64>) -> u32 {
    let [.., a, b, c] = piv.unwrap_or_default().to_be_bytes();
    u32::from_be_bytes([0, a, b, c])
}
