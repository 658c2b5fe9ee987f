//! A security context, and what both roles do with it (RFC 8613 sections 3 and 8).

use crate::aead::{KEY_LEN, NONCE_LEN};
use crate::binding::Binding;
use crate::crypto::{self, Purpose};
use crate::error::{DeriveError, ProtectError, UnprotectError};
use crate::header::{CoseHeader, EchoValue, MAX_HEADER_LEN, MAX_PARTIAL_IV, encode_piv};
use crate::id::{IdContext, KeyId};
use crate::kdf;
use crate::replay::ReplayWindow;
use crate::sequence::SequenceReservation;
use crate::transform::{self, Cipher, Wrapping};
use capmesh_coap::message::Message;
use capmesh_coap::option::OptionNumber;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Whether contexts can have an ID Context in this build.
const ID_CONTEXT: bool = cfg!(feature = "id-context");

/// What a context is derived from (RFC 8613 section 3.2). Each pair of ID Context and Sender ID may
/// be used with one Master Secret and Master Salt only once, by one side (section 3.3).
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    /// Uniformly random, at least 16 bytes in practice; EDHOC exports it.
    pub master_secret: &'a [u8],
    /// May be empty.
    pub master_salt: &'a [u8],
    /// Told to the peer in every request if it is present. At most 16 bytes; none at all without the
    /// feature `id-context`.
    pub id_context: Option<&'a [u8]>,
    /// What this side calls itself. At most 7 bytes.
    pub sender_id: &'a [u8],
    /// What the peer calls itself. At most 7 bytes, and another than `sender_id`.
    pub recipient_id: &'a [u8],
}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters")
            .field("id_context", &self.id_context)
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .finish_non_exhaustive()
    }
}

/// What is known of the requests that a context has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All of it: the context is new, or the window has been stored after the last request.
    Known(ReplayWindow),
    /// Nothing: the context existed before a restart. Requests are refused until one echoes
    /// [`Context::echo`].
    #[cfg(feature = "persistence")]
    Lost,
}

/// How often the keys of a context may be used before it must be replaced.
///
/// The tag of AES-CCM-16-64-128 is 8 bytes, so each forgery is accepted with probability 2^-64, and
/// its blocks are 16 bytes, so what an observer learns grows with the square of the blocks
/// encrypted. In the terms of draft-irtf-cfrg-aead-limits, with q messages and v forgeries of l
/// blocks each: CA = (2 l q)^2 / 2^128 and IA = v / 2^64 + (2 l (q + v))^2 / 2^128, each of which
/// is to stay near or below 2^-50. draft-ietf-core-oscore-key-limits takes (q, v, l) = (2^20, 2^14, 2^8);
/// the default here uses that a datagram of up to 2 KB has l = 2^7 at most, for q = 2^28: CA is
/// 2^-56, IA 2^-50.
///
/// Anybody who can send to this side and has seen a kid can use up the forgeries, at the price of as
/// many datagrams. So a worn context is a reason to agree on a new one, not to shut the peer out. A
/// restart forgets the forgeries, and counts all sequence numbers as messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The most messages that the Sender Key may protect.
    pub messages: u32,
    /// The most messages that may fail to decrypt with the Recipient Key.
    pub forgeries: u32,
}

impl KeyUse {
    /// The limits of a context unless it is given others.
    pub const DEFAULT: Self = Self { messages: 1 << 28, forgeries: 1 << 14 };
}

impl Default for KeyUse {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Keys {
    sender: [u8; KEY_LEN],
    recipient: [u8; KEY_LEN],
    common_iv: [u8; NONCE_LEN],
}

/// A security context shared with one peer.
///
/// It takes at most 160 bytes; the key schedule is derived anew for each message.
pub struct Context {
    keys: Keys,
    sender_id: KeyId,
    recipient_id: KeyId,
    id_context: Option<IdContext>,
    sequence: SequenceReservation,
    window: ReplayWindow,
    /// Whether the window is lost. Ask [`Context::is_lost`].
    lost: bool,
    /// Then, a sequence number that this side had not reached before the restart, so that a request
    /// that echoes it was made after (RFC 9175 Appendix A item 3).
    echo: u64,
    limits: KeyUse,
    used: KeyUse,
}

impl Context {
    /// How many bytes longer protection makes a message at most: Partial IV, IDs, tag, inner code
    /// and a second Observe option of up to 3 bytes, and option deltas that grow because inner and
    /// outer options are apart. With one-byte IDs and no ID Context it is 12 to 18 bytes.
    pub const MAX_OVERHEAD: usize = 60;

    /// Derives a new context whose keys are never stored: sequence numbers start at 0 and the replay
    /// window is empty. If the same parameters may come back after a restart, use
    /// [`Context::restore`], the first time too.
    ///
    /// # Errors
    /// If an ID is too long, or both are the same.
    pub fn derive(parameters: &Parameters<'_>) -> Result<Self, DeriveError> {
        let sequence = SequenceReservation::volatile();
        Self::restore(parameters, sequence, Replay::Known(ReplayWindow::EMPTY))
    }

    /// Derives a context from stored parameters, to go on with from stored state.
    ///
    /// # Errors
    /// As [`Context::derive`].
    pub fn restore(
        parameters: &Parameters<'_>,
        sequence: SequenceReservation,
        replay: Replay,
    ) -> Result<Self, DeriveError> {
        let sender_id = KeyId::new(parameters.sender_id).ok_or(DeriveError::IdTooLong)?;
        let recipient_id = KeyId::new(parameters.recipient_id).ok_or(DeriveError::IdTooLong)?;
        if sender_id == recipient_id {
            return Err(DeriveError::SameIds);
        }
        let id_context = match parameters.id_context {
            None => None,
            Some(_) if !ID_CONTEXT => return Err(DeriveError::IdContextTooLong),
            Some(bytes) => Some(IdContext::new(bytes).ok_or(DeriveError::IdContextTooLong)?),
        };
        let mut keys = Keys { sender: [0; _], recipient: [0; _], common_iv: [0; _] };
        let mut prk = kdf::extract(parameters.master_salt, parameters.master_secret);
        let id = id_context.as_ref().filter(|_| ID_CONTEXT);
        crypto::expand(&prk, Purpose::Key(&sender_id), id, &mut keys.sender);
        crypto::expand(&prk, Purpose::Key(&recipient_id), id, &mut keys.recipient);
        crypto::expand(&prk, Purpose::Iv, id, &mut keys.common_iv);
        prk.zeroize();
        let (window, lost) = match replay {
            Replay::Known(window) => (window, false),
            #[cfg(feature = "persistence")]
            Replay::Lost => (ReplayWindow::EMPTY, true),
        };
        let echo = sequence.next();
        let messages = u32::try_from(sequence.next()).unwrap_or(u32::MAX);
        let used = KeyUse { messages, forgeries: 0 };
        let limits = KeyUse::DEFAULT;
        Ok(Self {
            keys,
            sender_id,
            recipient_id,
            id_context,
            sequence,
            window,
            lost,
            echo,
            limits,
            used,
        })
    }

    /// Sets other limits than [`KeyUse::DEFAULT`].
    pub const fn limit(&mut self, limits: KeyUse) {
        self.limits = limits;
    }

    /// What this side calls itself.
    #[must_use]
    pub const fn sender_id(&self) -> &KeyId {
        &self.sender_id
    }

    /// What the peer calls itself: the kid of its requests.
    #[must_use]
    pub const fn recipient_id(&self) -> &KeyId {
        &self.recipient_id
    }

    /// The ID Context, if there is one.
    #[must_use]
    pub const fn id_context(&self) -> Option<&IdContext> {
        if ID_CONTEXT { self.id_context.as_ref() } else { None }
    }

    /// Where sequence numbers come from; see there for what to store when.
    #[must_use]
    pub const fn sequence(&self) -> &SequenceReservation {
        &self.sequence
    }

    /// Says that `bound`, which [`SequenceReservation::wanted`] gave, is durable.
    pub fn confirm_sequence(&mut self, bound: u64) {
        self.sequence.confirm(bound);
    }

    /// The replay window, for storing it at an orderly stop, or what stands for it.
    #[must_use]
    pub const fn replay(&self) -> Replay {
        #[cfg(feature = "persistence")]
        if self.lost {
            return Replay::Lost;
        }
        Replay::Known(self.window)
    }

    /// The Echo value that proves a request fresh, while the replay window is lost.
    #[must_use]
    pub fn echo(&self) -> Option<EchoValue> {
        self.is_lost().then(|| encode_piv(self.echo))
    }

    const fn is_lost(&self) -> bool {
        cfg!(feature = "persistence") && self.lost
    }

    /// Whether seven eighths of a limit are used up: of [`KeyUse`], or of the sequence numbers. From
    /// then on there is time to agree on a new context before this one refuses.
    #[must_use]
    pub const fn is_worn(&self) -> bool {
        self.used.messages >= self.limits.messages - self.limits.messages / 8
            || self.used.forgeries >= self.limits.forgeries - self.limits.forgeries / 8
            || self.sequence.next() > MAX_PARTIAL_IV / 8 * 7
    }

    /// Whether `header` is of a request that this context is to open (RFC 8613 section 8.2 step 2).
    #[must_use]
    pub fn matches(&self, header: &CoseHeader<'_>) -> bool {
        header.kid == Some(self.recipient_id.as_bytes())
            && header.kid_context.is_none_or(|context| {
                self.id_context().is_some_and(|own| own.as_bytes() == context)
            })
    }

    /// Protects a request: writes the outer message to `out`, which must not overlap `inner`, and
    /// returns its length and what its response will be opened with. The outer message is at most
    /// [`Context::MAX_OVERHEAD`] longer than the inner one.
    ///
    /// # Errors
    /// See [`ProtectError`]. A sequence number may have been spent.
    pub fn protect_request(
        &mut self,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<(usize, Binding), ProtectError> {
        self.protect_combined(inner, &[], out)
    }

    /// Like [`Context::protect_request`], with EDHOC message_3 (a CBOR byte string, which is not
    /// empty) in front of the ciphertext (RFC 9668 section 3).
    ///
    /// # Errors
    /// As [`Context::protect_request`].
    pub fn protect_combined(
        &mut self,
        inner: Message<'_>,
        message_3: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, Binding), ProtectError> {
        if !inner.code().is_request() {
            return Err(ProtectError::WrongCode);
        }
        self.use_sender_key()?;
        let piv = self.sequence.take()?;
        let cipher = self.own_request_cipher(piv);
        let mut buf = [0; MAX_HEADER_LEN];
        let header =
            CoseHeader::write(Some(piv), self.id_context(), Some(&self.sender_id), &mut buf);
        let len = transform::seal(inner, &Wrapping { header, message_3 }, &cipher, out)?;
        let observe = inner.option(OptionNumber::OBSERVE).is_some();
        Ok((len, Binding::new(piv, observe)))
    }

    /// Recovers the inner message of a request that [`Context::protect_request`] made, into `out`,
    /// which is at least as long as `outer`.
    ///
    /// # Errors
    /// If `outer` is not what `binding` belongs to.
    pub fn reopen_request<'b>(
        &self,
        binding: &Binding,
        outer: Message<'_>,
        out: &'b mut [u8],
    ) -> Result<Message<'b>, UnprotectError> {
        let cipher = self.own_request_cipher(binding.partial_iv());
        let start = transform::decrypt(outer, &cipher, out)?;
        transform::assemble(outer, start, None, out)
    }

    /// Opens a request, into `scratch`, which is at least as long as `outer`. The response is to be
    /// protected with the returned binding.
    ///
    /// # Errors
    /// See [`UnprotectError`]; the answer is [`UnprotectError::refusal`].
    pub fn unprotect_request<'b>(
        &mut self,
        outer: Message<'_>,
        scratch: &'b mut [u8],
    ) -> Result<(Message<'b>, Binding), UnprotectError> {
        let header = CoseHeader::of(&outer)?.ok_or(UnprotectError::Decode)?;
        let (Some(piv), Some(_)) = (header.partial_iv, header.kid) else {
            return Err(UnprotectError::Decode);
        };
        if !self.matches(&header) {
            return Err(UnprotectError::ContextNotFound);
        }
        if !self.is_lost() && !self.window.is_new(piv) {
            return Err(UnprotectError::Replay);
        }
        let request = (&self.recipient_id, piv);
        let start = self.decrypt(outer, request, request, scratch);
        let start = self.count(start)?;
        if !self.is_lost() {
            self.window.accept(piv);
        }
        let inner = transform::assemble(outer, start, None, scratch)?;
        if !inner.code().is_request() {
            return Err(UnprotectError::Malformed);
        }
        let binding = Binding::new(piv, inner.option(OptionNumber::OBSERVE).is_some());
        if let Some(echo) = self.echo() {
            if inner.option(OptionNumber::ECHO) != Some(echo.as_bytes()) {
                return Err(UnprotectError::Unverified(binding));
            }
            self.window = ReplayWindow::starting_with(piv);
            self.lost = false;
        }
        Ok((inner, binding))
    }

    /// Protects the response to the request with `binding`, or the first of its notifications:
    /// writes the outer message to `out`, which must not overlap `inner`, and returns its length. It
    /// gets a Partial IV of its own only if the request's nonce has been used, or may have been.
    ///
    /// # Errors
    /// See [`ProtectError`]. A sequence number may have been spent.
    pub fn protect_response(
        &mut self,
        binding: &Binding,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let nonce_is_free = !self.is_lost() && self.window.take_nonce(binding.partial_iv());
        let piv = if nonce_is_free { None } else { Some(self.sequence.take()?) };
        self.seal_response(binding, piv, inner, out)
    }

    /// Protects a response with a Partial IV of its own, as every notification but the first must
    /// have (RFC 8613 section 8.3.1), and the answer to [`UnprotectError::Unverified`]. Otherwise as
    /// [`Context::protect_response`].
    ///
    /// # Errors
    /// As [`Context::protect_response`].
    pub fn protect_notification(
        &mut self,
        binding: &Binding,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let piv = self.sequence.take()?;
        self.seal_response(binding, Some(piv), inner, out)
    }

    /// Opens a response to the request with `binding`, into `scratch`, which is at least as long as
    /// `outer`. An Observe option gets the end of the Partial IV as its value, so that it rises with
    /// each notification that has one.
    ///
    /// # Errors
    /// See [`UnprotectError`]; the response is dropped, and the request or observation goes on (RFC
    /// 8613 sections 8.4 and 8.4.2).
    pub fn unprotect_response<'b>(
        &mut self,
        binding: &mut Binding,
        outer: Message<'_>,
        scratch: &'b mut [u8],
    ) -> Result<Message<'b>, UnprotectError> {
        let header = CoseHeader::of(&outer)?.ok_or(UnprotectError::Decode)?;
        // Responses need no kid. One that has it speaks for the peer, or is not for this context.
        if header.kid.is_some_and(|kid| kid != self.recipient_id.as_bytes()) {
            return Err(UnprotectError::Decode);
        }
        let piv = header.partial_iv;
        if !binding.is_fresh(piv) {
            return Err(UnprotectError::Stale);
        }
        let request = (&self.sender_id, binding.partial_iv());
        let nonce = piv.map_or(request, |piv| (&self.recipient_id, piv));
        let start = self.decrypt(outer, nonce, request, scratch);
        let start = self.count(start)?;
        let observe = transform::observe_value(piv);
        let inner = transform::assemble(outer, start, Some(observe), scratch)?;
        let notifies = inner.option(OptionNumber::OBSERVE).is_some();
        if !inner.code().is_response() || (notifies && !binding.is_observe()) {
            return Err(UnprotectError::Malformed);
        }
        binding.accept(piv);
        Ok(inner)
    }

    fn own_request_cipher(&self, piv: u64) -> Cipher<'_> {
        let request = (&self.sender_id, piv);
        self.cipher(&self.keys.sender, request, request)
    }

    /// `nonce` and `request` each are the ID of who made a Partial IV, and the Partial IV.
    fn cipher<'k>(
        &self,
        key: &'k [u8; KEY_LEN],
        nonce: (&KeyId, u64),
        request: (&KeyId, u64),
    ) -> Cipher<'k> {
        Cipher {
            key,
            nonce: crypto::nonce(&self.keys.common_iv, nonce.0, nonce.1),
            aad: crypto::aad(request.0, request.1),
        }
    }

    /// The response takes its nonce from `piv`, or from the request.
    fn seal_response(
        &mut self,
        binding: &Binding,
        piv: Option<u64>,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        if !inner.code().is_response() {
            return Err(ProtectError::WrongCode);
        }
        self.use_sender_key()?;
        let request = (&self.recipient_id, binding.partial_iv());
        let nonce = piv.map_or(request, |piv| (&self.sender_id, piv));
        let cipher = self.cipher(&self.keys.sender, nonce, request);
        let mut buf = [0; MAX_HEADER_LEN];
        let header = CoseHeader::write(piv, None, None, &mut buf);
        transform::seal(inner, &Wrapping { header, message_3: &[] }, &cipher, out)
    }

    fn use_sender_key(&mut self) -> Result<(), ProtectError> {
        if self.used.messages >= self.limits.messages {
            return Err(ProtectError::Exhausted);
        }
        self.used.messages += 1;
        Ok(())
    }

    /// Decrypts with the Recipient Key, as far as that may still be used.
    fn decrypt(
        &self,
        outer: Message<'_>,
        nonce: (&KeyId, u64),
        request: (&KeyId, u64),
        scratch: &mut [u8],
    ) -> Result<usize, UnprotectError> {
        if self.used.forgeries >= self.limits.forgeries {
            return Err(UnprotectError::Exhausted);
        }
        let cipher = self.cipher(&self.keys.recipient, nonce, request);
        transform::decrypt(outer, &cipher, scratch)
    }

    /// Counts a forgery.
    fn count<T>(&mut self, result: Result<T, UnprotectError>) -> Result<T, UnprotectError> {
        if matches!(result, Err(UnprotectError::Decryption)) {
            self.used.forgeries += 1;
        }
        result
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("id_context", &self.id_context)
            .field("sequence", &self.sequence)
            .field("replay", &self.replay())
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
