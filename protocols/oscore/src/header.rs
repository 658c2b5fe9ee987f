//! The OSCORE option: the compressed header of the COSE object (RFC 8613 section 6.1).

use crate::error::UnprotectError;
use crate::id::{IdContext, KeyId, Short};
use capmesh_coap::message::Message;
use capmesh_coap::option::OptionNumber;

/// The largest Partial IV, and so the largest Sender Sequence Number (RFC 8613 section 7.2.1).
pub const MAX_PARTIAL_IV: u64 = (1 << 40) - 1;

/// The most bytes that a Partial IV takes.
pub(crate) const PIV_LEN: usize = 5;

/// The value of an Echo option that [`Context::echo`](crate::Context::echo) asks for.
pub type EchoValue = Short<PIV_LEN>;

/// The longest option value that this crate writes.
pub(crate) const MAX_HEADER_LEN: usize = 1 + PIV_LEN + 1 + IdContext::MAX + KeyId::MAX;

const RESERVED: u8 = 0b1110_0000;
const HAS_KID_CONTEXT: u8 = 0b1_0000;
const HAS_KID: u8 = 0b1000;
const PIV_LEN_MASK: u8 = 0b111;

/// What the OSCORE option says, readable without keys. A server looks up the context of a request
/// by `kid` and, where it is present, `kid_context`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoseHeader<'a> {
    /// The 'Partial IV' parameter; requests have one.
    pub partial_iv: Option<u64>,
    /// The 'kid context' parameter: the ID Context.
    pub kid_context: Option<&'a [u8]>,
    /// The 'kid' parameter, the sender's Sender ID; requests have one.
    pub kid: Option<&'a [u8]>,
}

impl<'a> CoseHeader<'a> {
    /// The header of `message`, or `None` if it has no OSCORE option and so is not protected.
    ///
    /// # Errors
    /// [`UnprotectError::Decode`] if there are two OSCORE options, no payload (RFC 8613 section 2),
    /// or an option value that does not decode.
    pub fn of(message: &Message<'a>) -> Result<Option<Self>, UnprotectError> {
        let mut found = None;
        for (number, value) in message.options() {
            if number == OptionNumber::OSCORE && found.replace(value).is_some() {
                return Err(UnprotectError::Decode);
            }
        }
        let Some(value) = found else { return Ok(None) };
        if message.payload().is_empty() {
            return Err(UnprotectError::Decode);
        }
        Self::parse(value).map(Some)
    }

    /// Decodes the value of an OSCORE option.
    ///
    /// # Errors
    /// [`UnprotectError::Decode`] if reserved bits are set, lengths do not fit, all flags are zero in
    /// a value that is not empty (section 2), or a Partial IV has leading zeros (section 5).
    pub fn parse(value: &'a [u8]) -> Result<Self, UnprotectError> {
        let Some((&flags, rest)) = value.split_first() else { return Ok(Self::default()) };
        if flags & RESERVED != 0 || flags == 0 {
            return Err(UnprotectError::Decode);
        }
        let piv_len = usize::from(flags & PIV_LEN_MASK);
        let (piv, rest) = rest.split_at_checked(piv_len).ok_or(UnprotectError::Decode)?;
        let (kid_context, rest) = match rest {
            rest if flags & HAS_KID_CONTEXT == 0 => (None, rest),
            [len, rest @ ..] => {
                let split = rest.split_at_checked(usize::from(*len));
                let (kid_context, rest) = split.ok_or(UnprotectError::Decode)?;
                (Some(kid_context), rest)
            }
            [] => return Err(UnprotectError::Decode),
        };
        let kid = (flags & HAS_KID != 0).then_some(rest);
        if kid.is_none() && !rest.is_empty() {
            return Err(UnprotectError::Decode);
        }
        Ok(Self { partial_iv: decode_piv(piv)?, kid_context, kid })
    }

    /// Encodes the option's value.
    pub(crate) fn write<'b>(
        partial_iv: Option<u64>,
        kid_context: Option<&IdContext>,
        kid: Option<&KeyId>,
        buf: &'b mut [u8; MAX_HEADER_LEN],
    ) -> &'b [u8] {
        let piv = partial_iv.map(encode_piv);
        let (mut flags, mut len) = (0, 1);
        let mut append = |bytes: &[u8]| {
            if let Some(room) = buf.get_mut(len..len + bytes.len()) {
                room.copy_from_slice(bytes);
                len += bytes.len();
            }
        };
        if let Some(piv) = &piv {
            flags |= piv.len();
            append(piv.as_bytes());
        }
        if let Some(context) = kid_context {
            flags |= HAS_KID_CONTEXT;
            append(&[context.len()]);
            append(context.as_bytes());
        }
        if let Some(kid) = kid {
            flags |= HAS_KID;
            append(kid.as_bytes());
        }
        let [first, ..] = buf;
        *first = flags;
        if flags == 0 { &[] } else { buf.get(..len).unwrap_or_default() }
    }
}

/// A Partial IV without leading zeros; 0 is one byte (RFC 8613 section 5).
pub(crate) fn encode_piv(piv: u64) -> EchoValue {
    let bytes = piv.to_be_bytes();
    let zeros = usize::try_from(piv.leading_zeros() / 8).unwrap_or(7).clamp(3, 7);
    Short::new(bytes.get(zeros..).unwrap_or_default()).unwrap_or_default()
}

/// The number in a Partial IV of at most 5 bytes, `None` if there are no bytes.
fn decode_piv(bytes: &[u8]) -> Result<Option<u64>, UnprotectError> {
    match bytes {
        [] => Ok(None),
        [0, _, ..] | [_, _, _, _, _, _, ..] => Err(UnprotectError::Decode),
        bytes => Ok(Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))),
    }
}

#[cfg(test)]
mod tests;
