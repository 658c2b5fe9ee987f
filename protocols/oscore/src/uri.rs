//! Taking a Proxy-Uri apart (RFC 8613 section 4.1.3.3): proxies see where a request goes, only the
//! server sees what for.

use crate::error::ProtectError;
use crate::transform::Cursor;
use capmesh_coap::option::OptionNumber;

/// The parts of a Proxy-Uri. All are empty if there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxyUri<'a> {
    /// Scheme and authority, for the outer message.
    pub(crate) origin: &'a [u8],
    /// The path with its first slash.
    path: &'a [u8],
    /// The query with its question mark.
    query: &'a [u8],
}

impl<'a> ProxyUri<'a> {
    pub(crate) fn parse(uri: &'a [u8]) -> Result<Self, ProtectError> {
        let scheme_len = uri.windows(3).position(|window| window == b"://");
        let authority_at = scheme_len.filter(|len| *len > 0).ok_or(ProtectError::ProxyUri)? + 3;
        if uri.contains(&b'#') {
            return Err(ProtectError::ProxyUri);
        }
        let (origin, rest) = split_before(uri, authority_at, |byte| matches!(byte, b'/' | b'?'));
        let (path, query) = split_before(rest, 0, |byte| byte == b'?');
        if origin.len() == authority_at {
            return Err(ProtectError::ProxyUri);
        }
        Ok(Self { origin, path, query })
    }

    /// Whether there is neither path nor query.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self.path, b"" | b"/") && self.query.is_empty()
    }

    /// Writes the Uri-Path and Uri-Query options that sort before `next`, once; all for `None`.
    pub(crate) fn write_before(
        &mut self,
        next: Option<OptionNumber>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), ProtectError> {
        let is_due = |number| next.is_none_or(|next| next > number);
        if is_due(OptionNumber::URI_PATH) {
            let path = core::mem::take(&mut self.path);
            if let Some(segments) = path.get(1..).filter(|segments| !segments.is_empty()) {
                write_all(OptionNumber::URI_PATH, segments, b'/', cursor)?;
            }
        }
        if is_due(OptionNumber::URI_QUERY) {
            let query = core::mem::take(&mut self.query);
            if let Some(arguments) = query.get(1..) {
                write_all(OptionNumber::URI_QUERY, arguments, b'&', cursor)?;
            }
        }
        Ok(())
    }
}

/// Splits before the first byte from `from` on that `is_end` is true of.
fn split_before(bytes: &[u8], from: usize, is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = bytes.iter().skip(from).position(|byte| is_end(*byte)).map(|at| from + at);
    bytes.split_at_checked(len.unwrap_or(bytes.len())).unwrap_or((bytes, &[]))
}

/// Writes each part of `parts` as an option, percent-decoded (RFC 7252 section 6.4).
fn write_all(
    number: OptionNumber,
    parts: &[u8],
    separator: u8,
    cursor: &mut Cursor<'_>,
) -> Result<(), ProtectError> {
    for part in parts.split(|byte| *byte == separator) {
        let escapes = part.iter().filter(|byte| **byte == b'%').count();
        let len = part.len().checked_sub(2 * escapes).ok_or(ProtectError::ProxyUri)?;
        cursor.option_head(number, len)?;
        let mut rest = part;
        while let [first, after @ ..] = rest {
            let (byte, after) = match (first, after) {
                (b'%', [high, low, after @ ..]) => (hex(*high)? << 4 | hex(*low)?, after),
                (b'%', _) => return Err(ProtectError::ProxyUri),
                (byte, after) => (*byte, after),
            };
            cursor.put(&[byte])?;
            rest = after;
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, ProtectError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ProtectError::ProxyUri),
    }
}

#[cfg(test)]
mod tests;
