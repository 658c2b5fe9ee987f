//! The responder's side of a handshake.

use super::dh::{Shared, agree};
use super::keys::{Completed, EphemeralKey, write};
use super::message::{Plaintext, read_ciphertext, read_message_1};
use super::schedule::{
    HASH_HEAD, Hash, Prk, apply_keystream_2, extract, hash, head, label, mac, write_id_and_mac,
};
use super::{ConnectionId, Credential, CredentialId, Identity, Refusal, Text, Transfer};
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A message_1 that has been read. Nothing in it is authenticated.
#[derive(Debug)]
pub struct Message1 {
    g_x: [u8; 32],
    c_i: ConnectionId,
    hash: [u8; 32],
}

impl Message1 {
    /// Reads message_1; one pass and a hash, no public-key operation.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn parse(message_1: &[u8]) -> Result<Self, Refusal> {
        let fields = read_message_1(message_1)?;
        let hash = hash(&[message_1]);
        Ok(Self { g_x: fields.g_x, c_i: fields.c_i, hash })
    }

    /// The connection identifier that the initiator chose.
    #[must_use]
    pub const fn connection_id(&self) -> ConnectionId {
        self.c_i
    }

    /// Writes message_2 to `out`: two Diffie-Hellman operations. Returns the next stage and the
    /// length (45 bytes for a one-byte C_R and `kid`, 46 and the credential by value).
    ///
    /// # Errors
    /// If G_X is no point of the curve, `c_r` is equal to C_I, or `out` is too short.
    #[expect(clippy::needless_pass_by_value, reason = "an ephemeral key is for one handshake")]
    pub fn answer(
        self,
        ephemeral: EphemeralKey,
        identity: &Identity,
        c_r: ConnectionId,
        transfer: Transfer,
        out: &mut [u8],
    ) -> Result<(AwaitMessage3, usize), Refusal> {
        if c_r == self.c_i {
            return Err(Refusal::ConnectionId);
        }
        let mut shared = [Shared::EMPTY, Shared::EMPTY];
        let [g_xy, g_rx] = &mut shared;
        agree(&ephemeral.private, &self.g_x, g_xy)?;
        agree(identity.private_key(), &self.g_x, g_rx)?;
        self.compose_2(&ephemeral, identity.credential(), c_r, transfer, &shared, out)
    }

    /// Message_2, with G_XY and G_RX (section 5.3.2).
    #[inline(never)]
    fn compose_2(
        &self,
        ephemeral: &EphemeralKey,
        credential: &Credential,
        c_r: ConnectionId,
        transfer: Transfer,
        [g_xy, g_rx]: &[Shared; 2],
        out: &mut [u8],
    ) -> Result<(AwaitMessage3, usize), Refusal> {
        let id_cred = credential.id(transfer).ok_or(Refusal::UnknownCredential)?;
        let th_2 = hash(&[&HASH_HEAD, &ephemeral.public, &HASH_HEAD, &self.hash]);
        let prk_2e = extract(&th_2, g_xy);
        let prk_3e2m = extract(&prk_2e.next(label::SALT_3E2M, &th_2).0, g_rx);
        let mac_2 =
            mac(&prk_3e2m, label::MAC_2, Some(c_r), &id_cred, &th_2, credential.as_bytes(), &[]);
        let mut text = Text::new();
        let mut c_r_bytes = [0; 1 + ConnectionId::MAX];
        let len = c_r.encode(&mut c_r_bytes);
        text.extend_from_slice(c_r_bytes.get(..len).unwrap_or_default())
            .map_err(|_| Refusal::TooLong)?;
        write_id_and_mac(&mut text, &id_cred, &mac_2)?;
        let th_3 = hash(&[&HASH_HEAD, &th_2, &text, credential.as_bytes()]);
        apply_keystream_2(&prk_2e, &th_2, &mut text);
        let mut head_bytes = [0; 3];
        let head = head(0x40, ephemeral.public.len() + text.len(), &mut head_bytes);
        let len = write(&[head, &ephemeral.public, &text], out)?;
        let next = AwaitMessage3 { y: ephemeral.private, prk_3e2m, th_3, c_i: self.c_i, c_r };
        Ok((next, len))
    }
}

/// A responder that has sent message_2.
pub struct AwaitMessage3 {
    y: [u8; 32],
    prk_3e2m: Prk,
    th_3: Hash,
    c_i: ConnectionId,
    c_r: ConnectionId,
}

impl AwaitMessage3 {
    /// The connection identifier of this side.
    #[must_use]
    pub const fn connection_id(&self) -> ConnectionId {
        self.c_r
    }

    /// The connection identifier that the initiator chose.
    #[must_use]
    pub const fn peer_connection_id(&self) -> ConnectionId {
        self.c_i
    }

    /// Decrypts and reads message_3; no public-key operation. This shows that the sender took part in
    /// the key exchange, not who it is.
    ///
    /// A message_3 that is not authentic may be an attacker's: the stage is kept, for the caller to
    /// decide whether to wait on (RFC 9528 section 9.7).
    ///
    /// # Errors
    /// Why it was refused.
    pub fn receive(&self, message_3: &[u8]) -> Result<Message3<'_>, Refusal> {
        let (ciphertext, tag) = read_ciphertext(message_3)?;
        let mut plaintext = Text::from_slice(ciphertext).map_err(|_| Refusal::TooLong)?;
        self.prk_3e2m.open([label::K_3, label::IV_3], &self.th_3, &mut plaintext, tag)?;
        Plaintext::read_3(&plaintext)?;
        Ok(Message3 { wait: self, plaintext })
    }
}

impl Drop for AwaitMessage3 {
    fn drop(&mut self) {
        self.y.zeroize();
    }
}

impl fmt::Debug for AwaitMessage3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitMessage3({:?}, {:?})", self.c_i, self.c_r)
    }
}

/// A message_3 that has been read and not yet verified.
pub struct Message3<'a> {
    wait: &'a AwaitMessage3,
    plaintext: Text,
}

impl Message3<'_> {
    /// Whom the initiator says it is.
    ///
    /// # Errors
    /// Never; the plaintext was read before.
    pub fn credential_id(&self) -> Result<CredentialId<'_>, Refusal> {
        Ok(Plaintext::read_3(&self.plaintext)?.id_cred)
    }

    /// Verifies the initiator's MAC with its credential: one Diffie-Hellman operation.
    ///
    /// `credential` must be the one that [`Message3::credential_id`] named, from a source that is
    /// trusted.
    ///
    /// # Errors
    /// Why the handshake is over.
    #[inline]
    pub fn verify(&self, credential: &Credential) -> Result<Completed, Refusal> {
        if !self.credential_id()?.is(credential) {
            return Err(Refusal::UnknownCredential);
        }
        let mut g_iy = Shared::EMPTY;
        agree(&self.wait.y, credential.public_key(), &mut g_iy)?;
        self.finish(credential, &g_iy)
    }

    /// Verifies MAC_3, with G_IY (section 5.4.3).
    #[inline(never)]
    fn finish(&self, credential: &Credential, g_iy: &Shared) -> Result<Completed, Refusal> {
        let wait = self.wait;
        let Plaintext { id_cred, ead, mac: received, .. } = Plaintext::read_3(&self.plaintext)?;
        let prk_4e3m = extract(&wait.prk_3e2m.next(label::SALT_4E3M, &wait.th_3).0, g_iy);
        let bytes = credential.as_bytes();
        let expected = mac(&prk_4e3m, label::MAC_3, None, &id_cred, &wait.th_3, bytes, ead);
        if !bool::from(expected.ct_eq(&received)) {
            return Err(Refusal::NotAuthentic);
        }
        let th_4 = hash(&[&HASH_HEAD, &wait.th_3, &self.plaintext, bytes]);
        Ok(Completed::new(prk_4e3m, th_4, wait.c_r, wait.c_i))
    }
}

impl fmt::Debug for Message3<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message3({:?})", self.wait)
    }
}
