//! The initiator's side of a handshake.

use super::dh::{Shared, agree};
use super::keys::{Completed, EphemeralKey, write};
use super::message::{Plaintext, read_message_2};
use super::schedule::{
    HASH_HEAD, Hash, Prk, apply_keystream_2, extract, hash, head, label, mac, write_id_and_mac,
};
use super::{ConnectionId, Credential, CredentialId, Identity, Refusal, Text, Transfer};
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// An initiator about to begin. Begins with [`Initiator::start`].
#[derive(Debug)]
pub struct Initiator;

impl Initiator {
    /// Writes message_1 to `out`, and returns the next stage and the length (37 to 44 bytes).
    ///
    /// # Errors
    /// If `out` is too short.
    #[expect(clippy::needless_pass_by_value, reason = "an ephemeral key is for one handshake")]
    pub fn start(
        ephemeral: EphemeralKey,
        c_i: ConnectionId,
        out: &mut [u8],
    ) -> Result<(AwaitMessage2, usize), Refusal> {
        Self::start_with_suites(&ephemeral, &[super::error::SUITE], c_i, out)
    }

    /// Names more preferred suites before the selected one, as an initiator that has several does
    /// after an error message (RFC 9528 section 6.3).
    #[inline(never)]
    pub(super) fn start_with_suites(
        ephemeral: &EphemeralKey,
        suites: &[u8],
        c_i: ConnectionId,
        out: &mut [u8],
    ) -> Result<(AwaitMessage2, usize), Refusal> {
        let mut head_bytes = [0; 3];
        let suites_head: &[u8] = match suites {
            [_] => &[],
            _ => head(0x80, suites.len(), &mut head_bytes),
        };
        let mut c_i_bytes = [0; 1 + ConnectionId::MAX];
        let c_i_len = c_i.encode(&mut c_i_bytes);
        let c_i_bytes = c_i_bytes.get(..c_i_len).unwrap_or_default();
        let parts = [&[METHOD], suites_head, suites, &HASH_HEAD, &ephemeral.public, c_i_bytes];
        let len = write(&parts, out)?;
        let next = AwaitMessage2 { x: ephemeral.private, hash: hash(&parts), c_i };
        Ok((next, len))
    }
}

/// METHOD of static Diffie-Hellman on both sides.
const METHOD: u8 = 3;

/// An initiator that has sent message_1.
pub struct AwaitMessage2 {
    x: [u8; 32],
    /// Of message_1.
    hash: Hash,
    c_i: ConnectionId,
}

impl AwaitMessage2 {
    /// The connection identifier of this side.
    #[must_use]
    pub const fn connection_id(&self) -> ConnectionId {
        self.c_i
    }

    /// Decrypts and reads message_2: one Diffie-Hellman operation. Nothing in it is authenticated
    /// yet.
    ///
    /// # Errors
    /// Why it was refused; the handshake is over then.
    pub fn receive(self, message_2: &[u8]) -> Result<Message2, Refusal> {
        let (g_y, ciphertext) = read_message_2(message_2)?;
        let mut g_xy = Shared::EMPTY;
        agree(&self.x, g_y, &mut g_xy)?;
        let th_2 = hash(&[&HASH_HEAD, g_y, &HASH_HEAD, &self.hash]);
        let prk_2e = extract(&th_2, &g_xy);
        let mut plaintext = Text::from_slice(ciphertext).map_err(|_| Refusal::TooLong)?;
        apply_keystream_2(&prk_2e, &th_2, &mut plaintext);
        let c_r = Plaintext::read_2(&plaintext)?.c_r;
        let c_r = c_r.filter(|c_r| *c_r != self.c_i).ok_or(Refusal::ConnectionId)?;
        Ok(Message2 { x: self.x, g_y: *g_y, prk_2e, th_2, c_i: self.c_i, c_r, plaintext })
    }
}

impl Drop for AwaitMessage2 {
    fn drop(&mut self) {
        self.x.zeroize();
    }
}

impl fmt::Debug for AwaitMessage2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitMessage2({:?})", self.c_i)
    }
}

/// A message_2 that has been read and not yet verified.
pub struct Message2 {
    x: [u8; 32],
    g_y: [u8; 32],
    prk_2e: Prk,
    th_2: Hash,
    c_i: ConnectionId,
    c_r: ConnectionId,
    plaintext: Text,
}

impl Message2 {
    /// The connection identifier that the responder chose.
    #[must_use]
    pub const fn connection_id(&self) -> ConnectionId {
        self.c_r
    }

    /// Whom the responder says it is.
    ///
    /// # Errors
    /// Never; the plaintext was read before.
    pub fn credential_id(&self) -> Result<CredentialId<'_>, Refusal> {
        Ok(Plaintext::read_2(&self.plaintext)?.id_cred)
    }

    /// Verifies the responder's MAC with its credential, and writes message_3 to `out`: two
    /// Diffie-Hellman operations. Returns the keys and message_3's length.
    ///
    /// `credential` must be the one that [`Message2::credential_id`] named, from a source that is
    /// trusted.
    ///
    /// # Errors
    /// Why the handshake is over.
    #[inline]
    pub fn verify(
        &self,
        credential: &Credential,
        identity: &Identity,
        transfer: Transfer,
        out: &mut [u8],
    ) -> Result<(Completed, usize), Refusal> {
        if !self.credential_id()?.is(credential) {
            return Err(Refusal::UnknownCredential);
        }
        let mut shared = [Shared::EMPTY, Shared::EMPTY];
        let [g_rx, g_iy] = &mut shared;
        agree(&self.x, credential.public_key(), g_rx)?;
        agree(identity.private_key(), &self.g_y, g_iy)?;
        self.finish(credential, identity.credential(), transfer, &shared, out)
    }

    /// Verifies MAC_2 and composes message_3, with G_RX and G_IY (sections 5.3.3 and 5.4.2).
    #[inline(never)]
    fn finish(
        &self,
        credential: &Credential,
        own: &Credential,
        transfer: Transfer,
        [g_rx, g_iy]: &[Shared; 2],
        out: &mut [u8],
    ) -> Result<(Completed, usize), Refusal> {
        let prk_3e2m = extract(&self.prk_2e.next(label::SALT_3E2M, &self.th_2).0, g_rx);
        let Plaintext { id_cred, c_r, ead, mac: received } = Plaintext::read_2(&self.plaintext)?;
        let bytes = credential.as_bytes();
        let expected = mac(&prk_3e2m, label::MAC_2, c_r, &id_cred, &self.th_2, bytes, ead);
        if !bool::from(expected.ct_eq(&received)) {
            return Err(Refusal::NotAuthentic);
        }
        let th_3 = hash(&[&HASH_HEAD, &self.th_2, &self.plaintext, bytes]);
        let prk_4e3m = extract(&prk_3e2m.next(label::SALT_4E3M, &th_3).0, g_iy);
        let id_cred = own.id(transfer).ok_or(Refusal::UnknownCredential)?;
        let mac_3 = mac(&prk_4e3m, label::MAC_3, None, &id_cred, &th_3, own.as_bytes(), &[]);
        let mut text = Text::new();
        write_id_and_mac(&mut text, &id_cred, &mac_3)?;
        let th_4 = hash(&[&HASH_HEAD, &th_3, &text, own.as_bytes()]);
        let tag = prk_3e2m.seal([label::K_3, label::IV_3], &th_3, &mut text)?;
        let mut head_bytes = [0; 3];
        let head = head(0x40, text.len() + tag.len(), &mut head_bytes);
        let len = write(&[head, &text, &tag], out)?;
        Ok((Completed::new(prk_4e3m, th_4, self.c_i, self.c_r), len))
    }
}

impl Drop for Message2 {
    fn drop(&mut self) {
        self.x.zeroize();
    }
}

impl fmt::Debug for Message2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message2({:?}, {:?})", self.c_i, self.c_r)
    }
}
