//! EDHOC messages and plaintexts, read before lakers sees them.

use super::cbor::Reader;
use super::credential::CredentialId;
#[cfg(feature = "by-value")]
use super::credential::read_ccs;
use super::error::SUITE;
use super::schedule::MAC;
use super::{ConnectionId, Kid, MAX_MESSAGE, Refusal};

/// METHOD of static Diffie-Hellman on both sides.
const METHOD: i32 = 3;

/// The most items that SUITES_I may have; as many as there are registered suites.
const MAX_SUITES: u16 = 9;

/// What message_1 says (RFC 9528 section 5.2.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields1 {
    pub(super) g_x: [u8; 32],
    pub(super) c_i: ConnectionId,
}

/// Reads message_1 = (METHOD, SUITES_I, G_X, C_I, ? EAD_1).
pub(super) fn read_message_1(message: &[u8]) -> Result<Fields1, Refusal> {
    let mut reader = bounded(message)?;
    let method = reader.int()?;
    let is_suite_selected = read_suites(&mut reader)?;
    let g_x = reader.bytes()?;
    let c_i = reader.identifier()?;
    read_ead(&mut reader)?;
    if method != METHOD {
        return Err(Refusal::UnsupportedMethod);
    }
    if !is_suite_selected {
        return Err(Refusal::UnsupportedSuite);
    }
    let g_x = g_x.try_into().map_err(|_| Refusal::InvalidPoint)?;
    let c_i = ConnectionId::new(c_i).ok_or(Refusal::ConnectionId)?;
    Ok(Fields1 { g_x, c_i })
}

/// Reads SUITES_I, an int or an array of at least two: the selected suite comes last, and must be the
/// first that the responder has too (section 5.2.3).
fn read_suites(reader: &mut Reader<'_>) -> Result<bool, Refusal> {
    let suite = i32::from(SUITE);
    if reader.peek().is_some_and(|first| first >> 5 != 4) {
        return Ok(reader.int()? == suite);
    }
    let mut left = reader.array()?;
    if !(2..=MAX_SUITES).contains(&left) {
        return Err(Refusal::Malformed);
    }
    let (mut is_last, mut listed) = (false, 0);
    while left > 0 {
        is_last = reader.int()? == suite;
        listed += u8::from(is_last);
        left -= 1;
    }
    Ok(is_last && listed == 1)
}

/// Checks the framing of message_2, a byte string of G_Y and CIPHERTEXT_2, and returns both (section
/// 5.3.1).
pub(super) fn read_message_2(message: &[u8]) -> Result<(&[u8; 32], &[u8]), Refusal> {
    let mut reader = bounded(message)?;
    let bytes = reader.bytes()?;
    reader.end()?;
    let (g_y, ciphertext) = bytes.split_first_chunk().ok_or(Refusal::Malformed)?;
    if ciphertext.is_empty() { Err(Refusal::Malformed) } else { Ok((g_y, ciphertext)) }
}

/// Checks the framing of message_3 or message_4, a byte string of ciphertext and tag, and returns both
/// (sections 5.4.1 and 5.5.1).
pub(super) fn read_ciphertext(message: &[u8]) -> Result<(&[u8], &[u8; MAC]), Refusal> {
    let mut reader = bounded(message)?;
    let ciphertext = reader.bytes()?;
    reader.end()?;
    ciphertext.split_last_chunk().ok_or(Refusal::Malformed)
}

/// What the plaintext of message_2 or message_3 says (sections 5.3.2 and 5.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plaintext<'a> {
    /// C_R, in message_2.
    pub(super) c_r: Option<ConnectionId>,
    pub(super) id_cred: CredentialId<'a>,
    pub(super) mac: [u8; MAC],
    pub(super) ead: &'a [u8],
}

impl<'a> Plaintext<'a> {
    /// Reads PLAINTEXT_2 = (C_R, ID_CRED_R / bstr / -24..23, MAC_2, ? EAD_2).
    pub(super) fn read_2(plaintext: &'a [u8]) -> Result<Self, Refusal> {
        let mut reader = bounded(plaintext)?;
        let c_r = ConnectionId::new(reader.identifier()?).ok_or(Refusal::ConnectionId)?;
        Self::read(reader, Some(c_r))
    }

    /// Reads PLAINTEXT_3 = (ID_CRED_I / bstr / -24..23, MAC_3, ? EAD_3).
    pub(super) fn read_3(plaintext: &'a [u8]) -> Result<Self, Refusal> {
        Self::read(bounded(plaintext)?, None)
    }

    fn read(mut reader: Reader<'a>, c_r: Option<ConnectionId>) -> Result<Self, Refusal> {
        let id_cred = read_id_cred(&mut reader)?;
        let mac = reader.bytes()?.try_into().map_err(|_| Refusal::Malformed)?;
        let ead = reader.rest();
        read_ead(&mut reader)?;
        Ok(Self { c_r, id_cred, mac, ead })
    }
}

/// Reads ID_CRED_x: a `kid` as a bare identifier, or `{14: CCS}`.
fn read_id_cred<'a>(reader: &mut Reader<'a>) -> Result<CredentialId<'a>, Refusal> {
    if reader.peek().is_none_or(|first| first >> 5 != 5) {
        let kid = reader.identifier()?;
        if kid.len() > Kid::MAX {
            return Err(Refusal::TooLong);
        }
        return Ok(CredentialId::Kid(kid));
    }
    #[cfg(not(feature = "by-value"))]
    return Err(Refusal::UnknownCredential);
    #[cfg(feature = "by-value")]
    read_value(reader)
}

/// Reads `{14: CCS}`.
#[cfg(feature = "by-value")]
fn read_value<'a>(reader: &mut Reader<'a>) -> Result<CredentialId<'a>, Refusal> {
    if reader.map()? != 1 || reader.int()? != 14 {
        return Err(Refusal::Malformed);
    }
    let start = reader.rest();
    let (public_key, kid) = read_ccs(reader)?;
    let ccs = start.get(..start.len() - reader.rest().len()).unwrap_or_default();
    Ok(CredentialId::Value { ccs, kid, public_key })
}

/// Reads EAD_x to the end: items of a label and perhaps a byte string (section 3.8). None are
/// understood, so that critical ones are refused and the others ignored, padding among them.
pub(super) fn read_ead(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    let mut is_critical = false;
    while !reader.is_empty() {
        is_critical |= reader.int()? < 0;
        if reader.peek().is_some_and(|next| next >> 5 == 2) {
            reader.bytes()?;
        }
    }
    if is_critical { Err(Refusal::CriticalEad) } else { Ok(()) }
}

fn bounded(message: &[u8]) -> Result<Reader<'_>, Refusal> {
    if message.len() > MAX_MESSAGE { Err(Refusal::TooLong) } else { Ok(Reader::new(message)) }
}
