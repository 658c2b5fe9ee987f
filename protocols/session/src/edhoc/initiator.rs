//! The initiator's side of a handshake.

use super::dh::{Shared, agree};
use super::keys::{Completed, EphemeralKey, Secret, copy};
use super::message::{Plaintext, check_own_room, read_message_2};
use super::suite2::{Step, Suite2};
use super::{ConnectionId, Credential, CredentialId, Identity, Refusal, Text, Transfer};
use core::fmt;
use lakers::{
    BufferMessage2, EdhocBuffer, InitiatorStart, MAX_SUITES_LEN, ProcessedM2, ProcessingM2, WaitM2,
    WaitM4,
};

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
        let suites_i =
            EdhocBuffer::<MAX_SUITES_LEN>::new_from_slice(suites).map_err(|_| Refusal::TooLong)?;
        let state = Secret(InitiatorStart {
            suites_i,
            method: lakers::EDHOC_METHOD,
            x: ephemeral.private,
            g_x: ephemeral.public,
        });
        let mut crypto = Suite2::new(Step::Compose, &[]);
        let composed = lakers::i_prepare_message_1(&state.0, &mut crypto, c_i.lakers(), &None);
        let (wait, message) = crypto.check(composed)?;
        let next = AwaitMessage2 { state: Secret(wait), c_i };
        Ok((next, copy(message.as_slice(), out)?))
    }
}

/// An initiator that has sent message_1.
pub struct AwaitMessage2 {
    state: Secret<WaitM2>,
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
    pub fn receive(self, message_2: &[u8]) -> Result<Message2<'_>, Refusal> {
        let (g_y, _) = read_message_2(message_2)?;
        let g_xy = [agree(&self.state.0.x, g_y)?];
        let plaintext = read_2(&self.state.0, message_2, &g_xy)?;
        let c_r = Plaintext::read_2(&plaintext)?.c_r;
        let c_r = c_r.filter(|c_r| *c_r != self.c_i).ok_or(Refusal::ConnectionId)?;
        Ok(Message2 { state: self.state, c_i: self.c_i, c_r, message_2, g_xy, plaintext })
    }
}

/// Decrypts message_2 with lakers.
#[inline(never)]
fn parse_2(
    state: &WaitM2,
    message_2: &[u8],
    g_xy: &[Shared; 1],
) -> Result<Secret<ProcessingM2>, Refusal> {
    let (_, ciphertext) = read_message_2(message_2)?;
    let buffer = BufferMessage2::new_from_slice(message_2).map_err(|_| Refusal::TooLong)?;
    let mut crypto = Suite2::new(Step::Receive2(ciphertext), g_xy);
    let parsed = lakers::i_parse_message_2(state, &mut crypto, &buffer);
    crypto.check(parsed).map(|(state, _, _, _)| Secret(state))
}

/// The plaintext of message_2.
#[inline(never)]
fn read_2(state: &WaitM2, message_2: &[u8], g_xy: &[Shared; 1]) -> Result<Text, Refusal> {
    let state = parse_2(state, message_2, g_xy)?;
    Text::from_slice(state.0.plaintext_2.as_slice()).map_err(|_| Refusal::TooLong)
}

/// Verifies MAC_2 with lakers.
#[inline(never)]
fn verify_2(
    message: &Message2<'_>,
    credential: &Credential,
    identity: &Identity,
    mac: [u8; 8],
) -> Result<Secret<ProcessedM2>, Refusal> {
    let (g_y, _) = read_message_2(message.message_2)?;
    let shared =
        [agree(&message.state.0.x, credential.public_key())?, agree(identity.private_key(), g_y)?];
    verify_mac_2(message, credential, identity, mac, &shared)
}

/// The part of [`verify_2`] that is lakers'.
#[inline(never)]
fn verify_mac_2(
    message: &Message2<'_>,
    credential: &Credential,
    identity: &Identity,
    mac: [u8; 8],
    shared: &[Shared],
) -> Result<Secret<ProcessedM2>, Refusal> {
    let state = parse_2(&message.state.0, message.message_2, &message.g_xy)?;
    let mut crypto = Suite2::new(Step::Verify(mac), shared);
    let key = identity.private_key();
    let verified = lakers::i_verify_message_2(&state.0, &mut crypto, credential.lakers(), key);
    crypto.check(verified).map(Secret)
}

/// Composes message_3 with lakers.
#[inline(never)]
fn compose_3(
    state: &ProcessedM2,
    identity: &Identity,
    transfer: Transfer,
    out: &mut [u8],
) -> Result<(Secret<WaitM4>, usize), Refusal> {
    let mut crypto = Suite2::new(Step::Compose, &[]);
    let own = identity.credential().lakers();
    let composed = lakers::i_prepare_message_3(state, &mut crypto, own, transfer.lakers(), &None);
    let (done, message_3, _) = crypto.check(composed)?;
    Ok((Secret(done), copy(message_3.as_slice(), out)?))
}

impl fmt::Debug for AwaitMessage2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitMessage2({:?})", self.c_i)
    }
}

/// A message_2 that has been read and not yet verified.
pub struct Message2<'a> {
    state: Secret<WaitM2>,
    c_i: ConnectionId,
    c_r: ConnectionId,
    message_2: &'a [u8],
    g_xy: [Shared; 1],
    plaintext: Text,
}

impl Message2<'_> {
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
    pub fn verify(
        self,
        credential: &Credential,
        identity: &Identity,
        transfer: Transfer,
        out: &mut [u8],
    ) -> Result<(Completed, usize), Refusal> {
        check_own_room(identity.credential(), transfer, None)?;
        let plaintext = Plaintext::read_2(&self.plaintext)?;
        if !plaintext.id_cred.is(credential) {
            return Err(Refusal::UnknownCredential);
        }
        plaintext.check_room(credential.as_bytes())?;
        let state = verify_2(&self, credential, identity, plaintext.mac)?;
        let (done, len) = compose_3(&state.0, identity, transfer, out)?;
        let completed = Completed {
            prk_4e3m: done.0.prk_4e3m,
            th_4: done.0.th_4,
            prk_out: done.0.prk_out,
            prk_exporter: done.0.prk_exporter,
            ours: self.c_i,
            theirs: self.c_r,
        };
        Ok((completed, len))
    }
}

impl fmt::Debug for Message2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message2({:?}, {:?})", self.c_i, self.c_r)
    }
}
