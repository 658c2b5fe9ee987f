//! The responder's side of a handshake.

use super::dh::{Shared, agree};
use super::keys::{Completed, EphemeralKey, Secret, copy};
use super::message::{Plaintext, check_ciphertext, check_own_room, read_message_1};
use super::suite2::{Step, Suite2};
use super::{ConnectionId, Credential, CredentialId, Identity, Refusal, Text, Transfer};
use core::fmt;
use lakers::{BufferMessage3, ProcessingM1, ProcessingM3, WaitM3};
use sha2::{Digest, Sha256};

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
        let hash = Sha256::digest(message_1).into();
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
        check_own_room(identity.credential(), transfer, Some(c_r))?;
        let shared =
            [agree(&ephemeral.private, &self.g_x)?, agree(identity.private_key(), &self.g_x)?];
        let state = Secret(ProcessingM1 {
            y: ephemeral.private,
            g_y: ephemeral.public,
            c_i: self.c_i.lakers(),
            g_x: self.g_x,
            h_message_1: self.hash,
        });
        let (wait, len) = compose_2(&state.0, identity, c_r, transfer, &shared, out)?;
        Ok((AwaitMessage3 { state: wait, c_i: self.c_i, c_r }, len))
    }
}

/// The part of [`Message1::answer`] that is lakers'.
#[inline(never)]
fn compose_2(
    state: &ProcessingM1,
    identity: &Identity,
    c_r: ConnectionId,
    transfer: Transfer,
    shared: &[Shared],
    out: &mut [u8],
) -> Result<(Secret<WaitM3>, usize), Refusal> {
    let mut crypto = Suite2::new(Step::Compose, shared);
    let composed = lakers::r_prepare_message_2(
        state,
        &mut crypto,
        identity.credential().lakers(),
        identity.private_key(),
        c_r.lakers(),
        transfer.lakers(),
        &None,
    );
    let (wait, message) = crypto.check(composed)?;
    Ok((Secret(wait), copy(message.as_slice(), out)?))
}

/// A responder that has sent message_2.
pub struct AwaitMessage3 {
    state: Secret<WaitM3>,
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
    pub fn receive<'a>(&'a mut self, message_3: &'a [u8]) -> Result<Message3<'a>, Refusal> {
        check_ciphertext(message_3)?;
        let plaintext = read_3(&mut self.state.0, message_3)?;
        Ok(Message3 { wait: self, message_3, plaintext })
    }
}

/// Decrypts message_3 with lakers.
#[inline(never)]
fn parse_3(state: &mut WaitM3, message_3: &[u8]) -> Result<Secret<ProcessingM3>, Refusal> {
    let buffer = BufferMessage3::new_from_slice(message_3).map_err(|_| Refusal::TooLong)?;
    let mut crypto = Suite2::new(Step::Receive3, &[]);
    let parsed = lakers::r_parse_message_3(state, &mut crypto, &buffer);
    crypto.check(parsed).map(|(state, _, _)| Secret(state))
}

/// The plaintext of message_3.
#[inline(never)]
fn read_3(state: &mut WaitM3, message_3: &[u8]) -> Result<Text, Refusal> {
    let state = parse_3(state, message_3)?;
    Text::from_slice(state.0.plaintext_3.as_slice()).map_err(|_| Refusal::TooLong)
}

/// Verifies MAC_3 with lakers.
#[inline(never)]
fn verify_3(
    wait: &mut AwaitMessage3,
    message_3: &[u8],
    credential: &Credential,
    mac: [u8; 8],
    shared: &[Shared],
) -> Result<Completed, Refusal> {
    let mut state = parse_3(&mut wait.state.0, message_3)?;
    let mut crypto = Suite2::new(Step::Verify(mac), shared);
    let verified = lakers::r_verify_message_3(&mut state.0, &mut crypto, credential.lakers());
    let (done, _) = crypto.check(verified)?;
    let done = Secret(done);
    Ok(Completed {
        prk_4e3m: done.0.prk_4e3m,
        th_4: done.0.th_4,
        prk_out: done.0.prk_out,
        prk_exporter: done.0.prk_exporter,
        ours: wait.c_r,
        theirs: wait.c_i,
    })
}

impl fmt::Debug for AwaitMessage3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitMessage3({:?}, {:?})", self.c_i, self.c_r)
    }
}

/// A message_3 that has been read and not yet verified.
pub struct Message3<'a> {
    wait: &'a mut AwaitMessage3,
    message_3: &'a [u8],
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
    pub fn verify(self, credential: &Credential) -> Result<Completed, Refusal> {
        let plaintext = Plaintext::read_3(&self.plaintext)?;
        if !plaintext.id_cred.is(credential) {
            return Err(Refusal::UnknownCredential);
        }
        plaintext.check_room(credential.as_bytes())?;
        let shared = [agree(&self.wait.state.0.y, credential.public_key())?];
        verify_3(self.wait, self.message_3, credential, plaintext.mac, &shared)
    }
}

impl fmt::Debug for Message3<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message3({:?})", self.wait)
    }
}
