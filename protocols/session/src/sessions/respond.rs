//! The responder's side of handshakes over CoAP (RFC 9528 appendix A.2, RFC 9668).

use super::server::{Opened, plain_answer};
use super::{Binding, Bound, MESSAGE_4, SEPARATE, Session, Sessions};
use crate::edhoc::{
    AwaitMessage3, Completed, EphemeralKey, ErrorMessage, Message1, Reader, Refusal, TRUE,
};
use crate::peer::{Entry, Roster};
use crate::stats::count;
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Opening;
use capmesh_wire::{Hasher, Instant};
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;

/// The content format `application/edhoc+cbor-seq`, of responses.
pub(super) const EDHOC: u16 = 64;

/// The content format `application/cid-edhoc+cbor-seq`, of requests.
pub(super) const CID_EDHOC: u16 = 65;

/// What a client is told to wait when there is no room, in seconds.
const WAIT: u32 = 2;

/// A handshake of somebody else's that has been answered.
#[derive(Debug)]
pub(super) struct HalfOpen {
    pub(super) wait: AwaitMessage3,
    from: SocketAddr,
    since: Instant,
}

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    /// A request to `/.well-known/edhoc`: one step of a handshake, at most three Diffie-Hellman
    /// operations.
    pub(super) fn open_edhoc<'b>(
        &mut self,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opened<'b> {
        if outer.code() != Code::POST {
            return plain_answer(Code::METHOD_NOT_ALLOWED, None);
        }
        if outer.options().any(|(number, _)| !is_understood(number)) {
            return plain_answer(Code::BAD_OPTION, None);
        }
        let format = outer.option_uint(OptionNumber::CONTENT_FORMAT);
        if format.is_some_and(|format| format != u32::from(CID_EDHOC)) {
            return plain_answer(Code::UNSUPPORTED_CONTENT_FORMAT, None);
        }
        match outer.payload() {
            [TRUE, message_1 @ ..] => self.open_message_1(from, outer, message_1, scratch),
            payload if SEPARATE => self.open_message_3(from, payload, scratch),
            // An error message for message_2, say: the handshake ends with its time.
            _ => plain_answer(Code::BAD_REQUEST, None),
        }
    }

    #[inline(never)]
    fn open_message_1<'b>(
        &mut self,
        from: SocketAddr,
        outer: Message<'b>,
        message_1: &[u8],
        scratch: &'b mut [u8],
    ) -> Opened<'b> {
        let message_1 = match Message1::parse(message_1) {
            Ok(message_1) => message_1,
            Err(refusal) => return self.refuse(refusal, scratch),
        };
        if self.is_loaded() && !self.has_echo(from, &outer) {
            count(&mut self.stats.put_off);
            let echo = self.echo(from, epoch(self.now));
            let Some(place) = scratch.get_mut(..echo.len()) else { return Opening::Drop };
            place.copy_from_slice(&echo);
            return Opening::Challenge { binding: Binding(Bound::Plain), echo: place };
        }
        let place = self.half_open_room(from);
        let (Some(at), true) = (place, self.responses.take(self.now, self.config.responses)) else {
            count(&mut self.stats.put_off);
            return plain_answer(Code::SERVICE_UNAVAILABLE, Some(WAIT));
        };
        let Some(c_r) = self.fresh_id(Some(message_1.connection_id())) else {
            return plain_answer(Code::SERVICE_UNAVAILABLE, Some(WAIT));
        };
        let ephemeral = EphemeralKey::generate(&mut self.rng);
        let transfer = self.config.transfer;
        match message_1.answer(ephemeral, &self.identity, c_r, transfer, scratch) {
            Ok((wait, len)) => {
                count(&mut self.stats.answered);
                if let Some(place) = self.half_open.get_mut(at) {
                    *place = Some(HalfOpen { wait, from, since: self.now });
                }
                edhoc_answer(Code::CHANGED, scratch, len)
            }
            Err(refusal) => self.refuse(refusal, scratch),
        }
    }

    /// A message_3, or an error message in its place, behind C_R.
    #[inline(never)]
    fn open_message_3<'b>(
        &mut self,
        from: SocketAddr,
        payload: &[u8],
        scratch: &'b mut [u8],
    ) -> Opened<'b> {
        let mut reader = Reader::new(payload);
        let Ok(c_r) = reader.identifier() else {
            return self.refuse(Refusal::Malformed, scratch);
        };
        // No error message without a handshake (RFC 9528 section 6): the initiator is to begin anew.
        let Some(at) = self.half_open_with(c_r) else {
            count(&mut self.stats.refused);
            return plain_answer(Code::UNAUTHORIZED, Some(0));
        };
        // Message_3 would be a byte string.
        if ErrorMessage::parse(reader.rest()).is_some() {
            // It is not protected: whoever it is from must at least be where message_2 went.
            let place = self.half_open.get_mut(at);
            place.and_then(|place| place.take_if(|half_open| half_open.from == from));
            return plain_answer(Code::CHANGED, None);
        }
        let message_4 = self.complete(from, at, reader.rest()).and_then(|completed| {
            if MESSAGE_4 { completed.compose_message_4(scratch) } else { Ok(0) }
        });
        match message_4 {
            Ok(0) => plain_answer(Code::CHANGED, None),
            Ok(len) => edhoc_answer(Code::CHANGED, scratch, len),
            Err(refusal) => self.refuse(refusal, scratch),
        }
    }

    /// The handshake under this identifier.
    pub(super) fn half_open_with(&self, c_r: &[u8]) -> Option<usize> {
        self.half_open.iter().position(|half_open| {
            half_open.as_ref().is_some_and(|h| h.wait.connection_id().as_bytes() == c_r)
        })
    }

    /// Ends a handshake with message_3: from here on the peer is who it says it is.
    #[inline(never)]
    pub(super) fn complete(
        &mut self,
        from: SocketAddr,
        at: usize,
        message_3: &[u8],
    ) -> Result<Completed, Refusal> {
        let place = self.half_open.get_mut(at).ok_or(Refusal::ConnectionId)?;
        let half_open = place.take().ok_or(Refusal::ConnectionId)?;
        let (sent_to, since) = (half_open.from, half_open.since);
        let received = half_open.wait.receive(message_3);
        let message_3 = match &received {
            Ok(message_3) => message_3,
            // One that does not even decrypt is an attacker's, and cost next to nothing (RFC 9528
            // section 9.7): the initiator's is still to come.
            Err(refusal) => {
                let refusal = *refusal;
                drop(received);
                *place = Some(half_open);
                return Err(refusal);
            }
        };
        // Whoever this is has taken part in the key exchange; the outcome is final.
        let known = self.look_up(&message_3.credential_id()?).and_then(|entry| {
            let completed = message_3.verify(&entry.credential)?;
            if self.is_authorised(&entry) {
                Ok((entry, completed))
            } else {
                Err(Refusal::NotAuthorised)
            }
        });
        let (entry, completed) = known.inspect_err(|_| {
            count(&mut self.stats.strangers);
            self.stats.stranger = Some(from);
        })?;
        // Message_2 went there, and message_3 proves that it arrived.
        let is_verified = sent_to == from;
        self.install(from, is_verified, since, &entry, &completed)?;
        count(&mut self.stats.completed);
        Ok(completed)
    }

    /// Makes the session of a finished handshake.
    ///
    /// If both sides have begun a handshake at the same time, both may come to their end. Then the
    /// one that the side with the smaller id began is the one to send requests in, at both sides, and
    /// the other one serves what is in flight.
    #[inline(never)]
    fn install(
        &mut self,
        from: SocketAddr,
        is_address_verified: bool,
        since: Instant,
        entry: &Entry,
        completed: &Completed,
    ) -> Result<(), Refusal> {
        let at = self.place_for(entry, from).ok_or(Refusal::NoRoom)?;
        let serial = self.next_serial();
        let session =
            Session::derive(&completed.oscore_keys(), &self.config, serial, self.now, false)
                .ok_or(Refusal::ConnectionId)?;
        self.abandon(at);
        let own_id = self.own_id;
        let slot = self.table.get_mut(at).ok_or(Refusal::NoRoom)?;
        slot.role = entry.role;
        slot.expires = entry.expires;
        slot.address = from;
        slot.is_address_verified = is_address_verified;
        slot.used = self.now;
        let ours_wins = slot.session.as_ref().is_some_and(|ours| {
            ours.by_us && ours.since >= since && own_id < entry.id && !slot.is_lost
        });
        if ours_wins {
            self.retire(at, session);
        } else {
            self.replace_session(at, session);
        }
        Ok(())
    }

    /// Where another half-open handshake may be kept. No address has more than half of the places,
    /// and one that is young is not replaced: who floods from one address keeps others from nothing,
    /// and who floods from many keeps others waiting.
    #[inline(never)]
    fn half_open_room(&mut self, from: SocketAddr) -> Option<usize> {
        self.expire_half_open();
        let is_same = |half_open: &HalfOpen| half_open.from.ip() == from.ip();
        let of_same = self.half_open.iter().flatten().filter(|h| is_same(h)).count();
        let is_at_quota = of_same >= H.div_ceil(2).max(1);
        if !is_at_quota && let Some(free) = self.half_open.iter().position(Option::is_none) {
            return Some(free);
        }
        let safe = self.config.half_open_safe;
        let mut oldest: Option<(usize, Instant)> = None;
        for (at, place) in self.half_open.iter().enumerate() {
            if let Some(half_open) = place
                && (!is_at_quota || is_same(half_open))
                && oldest.is_none_or(|(_, since)| half_open.since < since)
            {
                oldest = Some((at, half_open.since));
            }
        }
        oldest.filter(|(_, since)| self.now >= *since + safe).map(|(at, _)| at)
    }

    pub(super) fn expire_half_open(&mut self) {
        let timeout = self.config.half_open_timeout;
        for place in &mut self.half_open {
            place.take_if(|half_open| self.now >= half_open.since + timeout);
        }
    }

    /// Whether handshakes are so many that addresses have to be proved (RFC 9528 section 9.7).
    fn is_loaded(&mut self) -> bool {
        self.half_open() * 2 > H || self.responses.is_low(self.now, self.config.responses)
    }

    fn has_echo(&self, from: SocketAddr, outer: &Message<'_>) -> bool {
        let Some(value) = outer.option(OptionNumber::ECHO) else { return false };
        let now = epoch(self.now);
        let fresh =
            self.echo(from, now).ct_eq(value) | self.echo(from, now.wrapping_sub(1)).ct_eq(value);
        fresh.into()
    }

    /// An Echo value that only whoever receives at `address` gets to know (RFC 9175 appendix A), and
    /// that says so without anything being stored here.
    fn echo(&self, address: SocketAddr, epoch: u64) -> [u8; 8] {
        let mut hash = Hasher::new();
        hash.update(&self.echo_key);
        hash.update(&epoch.to_be_bytes());
        match address {
            SocketAddr::V4(v4) => hash.update(&v4.ip().octets()),
            SocketAddr::V6(v6) => hash.update(&v6.ip().octets()),
        }
        hash.update(&address.port().to_be_bytes());
        hash.finish().prefix().0
    }

    /// Answers with an EDHOC error message (RFC 9528 appendix A.2.3).
    #[inline(never)]
    pub(super) fn refuse<'b>(&mut self, refusal: Refusal, scratch: &'b mut [u8]) -> Opened<'b> {
        count(&mut self.stats.refused);
        let code = match refusal {
            Refusal::NoRoom => Code::SERVICE_UNAVAILABLE,
            _ => Code::BAD_REQUEST,
        };
        match refusal.error_message(scratch) {
            Some(len) => edhoc_answer(code, scratch, len),
            None => plain_answer(code, None),
        }
    }
}

/// Stretches of time for Echo values: 67 s.
const fn epoch(now: Instant) -> u64 {
    now.as_micros() >> 26
}

/// The options that a request to the EDHOC resource may have.
const fn is_understood(number: OptionNumber) -> bool {
    !number.is_critical()
        || matches!(
            number,
            OptionNumber::URI_HOST
                | OptionNumber::URI_PORT
                | OptionNumber::URI_PATH
                | OptionNumber::ACCEPT
        )
}

#[inline(never)]
fn edhoc_answer(code: Code, scratch: &mut [u8], len: usize) -> Opened<'_> {
    Opening::Answer {
        code,
        max_age: None,
        content_format: Some(EDHOC),
        payload: scratch.get(..len).unwrap_or_default(),
    }
}
