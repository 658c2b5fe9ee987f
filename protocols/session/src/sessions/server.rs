//! Requests that come in, and the responses to them.

use super::{Binding, Bound, Place, Sessions, copy};
use crate::peer::{Peer, Roster};
use crate::stats::count;
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{Answer, Opening, SealError};
use capmesh_oscore::{CoseHeader, ProtectError, Refusal, UnprotectError, split_combined};
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};

pub(super) type Opened<'b> = Opening<'b, Peer, Binding>;

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    pub(super) fn open_any_request<'b>(
        &mut self,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opened<'b> {
        self.expire_retired();
        match CoseHeader::of(&outer) {
            Ok(Some(header)) => self.open_protected(from, outer, &header, scratch),
            Err(error) => self.reject(error),
            Ok(None) if is_edhoc(&outer) => self.open_edhoc(from, outer, scratch),
            // RFC 9668 section 3.3.1 step 1.
            Ok(None) if outer.option(OptionNumber::EDHOC).is_some() => {
                plain_answer(Code::BAD_REQUEST, None)
            }
            Ok(None) if self.config.anonymous => Opening::Request {
                peer: Peer::Anonymous(from),
                binding: Binding(Bound::Plain),
                inner: outer,
            },
            Ok(None) => plain_answer(Code::UNAUTHORIZED, None),
        }
    }

    #[inline(never)]
    fn open_protected<'b>(
        &mut self,
        from: SocketAddr,
        outer: Message<'b>,
        header: &CoseHeader<'_>,
        scratch: &'b mut [u8],
    ) -> Opened<'b> {
        let Some(kid) = header.kid else { return self.reject(UnprotectError::Decode) };
        match split_combined(&outer) {
            Err(error) => return self.reject_combined(error),
            Ok((message_3, _)) if !message_3.is_empty() => {
                // Without a handshake under this identifier, message_3 has been here before: what
                // came with it may yet be new.
                if let Some(at) = self.half_open_with(kid)
                    && let Err(refusal) = self.complete(from, at, message_3)
                {
                    return self.refuse(refusal, scratch);
                }
            }
            Ok(_) => {}
        }
        let Some(place) = self.place_by_kid(kid) else {
            return self.reject(UnprotectError::ContextNotFound);
        };
        if self.end_if_expired(place) {
            return self.reject(UnprotectError::ContextNotFound);
        }
        let Some((slot, session)) = self.session_at(place) else {
            return self.reject(UnprotectError::ContextNotFound);
        };
        let serial = session.serial;
        // A challenge needs a place that lives as long as what is opened.
        let echo = session.context.echo();
        let echo_len = echo.as_ref().map_or(0, |echo| echo.as_bytes().len());
        let (place_of_echo, scratch) = scratch.split_at_mut(echo_len.min(scratch.len()));
        match session.context.unprotect_request(outer, scratch) {
            Ok((inner, oscore)) => {
                self.heard_request(place, slot, from);
                match self.table.get(slot) {
                    Some(known) => Opening::Request {
                        peer: Peer::Member(known.member()),
                        binding: bind(slot, serial, oscore),
                        inner,
                    },
                    None => Opening::Drop,
                }
            }
            Err(UnprotectError::Unverified(oscore)) if cfg!(feature = "persistence") => {
                let echo = echo.as_ref().map_or(&[][..], |echo| echo.as_bytes());
                place_of_echo.iter_mut().zip(echo).for_each(|(to, from)| *to = *from);
                Opening::Challenge { binding: bind(slot, serial, oscore), echo: place_of_echo }
            }
            Err(error) => self.reject(error),
        }
    }

    /// Ends the session if its owner's time on the roster is over.
    #[inline(never)]
    fn end_if_expired(&mut self, place: Place) -> bool {
        let Some((at, _)) = self.session_at(place) else { return false };
        let is_over = self.table.get(at).is_some_and(|slot| self.is_expired(slot.expires));
        if is_over {
            self.remove(at);
            count(&mut self.stats.expired);
        }
        is_over
    }

    /// An authentic request has come: it shows where the peer is, though not that it can be reached
    /// there, and that it has the keys.
    fn heard_request(&mut self, place: Place, slot: usize, from: SocketAddr) {
        if let Some(slot) = self.table.get_mut(slot) {
            slot.used = self.now;
            if slot.address != from {
                slot.address = from;
                slot.is_address_verified = false;
            }
        }
        if let Place::Attempt(attempt) = place {
            self.confirm(attempt);
        }
    }

    #[inline(never)]
    pub(super) fn seal_any_response(
        &mut self,
        binding: &Binding,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let (slot, serial, oscore) = match &binding.0 {
            Bound::Plain => return copy(inner, out),
            Bound::Session { slot, serial, oscore } => (usize::from(*slot), *serial, oscore),
        };
        self.expire_retired();
        let place = self.place_of(slot, serial).ok_or(SealError::NoKeys)?;
        let (_, session) = self.session_at(place).ok_or(SealError::NoKeys)?;
        let sealed = match role {
            Answer::First => session.context.protect_response(oscore, inner, out),
            Answer::Notification => session.context.protect_notification(oscore, inner, out),
        };
        sealed.map_err(seal_error)
    }

    /// The unprotected answer to a request that could not be opened (RFC 8613 section 8.2).
    fn reject<'b>(&mut self, error: UnprotectError) -> Opened<'b> {
        count(&mut self.stats.rejected);
        match error.refusal() {
            Some(Refusal { code, payload }) => Opening::Answer {
                code,
                max_age: Some(Refusal::MAX_AGE),
                content_format: None,
                payload: payload.as_bytes(),
            },
            None => Opening::Drop,
        }
    }

    /// The same for a combined request that is not one (RFC 9668 section 3.3.1 step 1).
    fn reject_combined<'b>(&mut self, _error: UnprotectError) -> Opened<'b> {
        count(&mut self.stats.rejected);
        plain_answer(Code::BAD_REQUEST, None)
    }
}

pub(super) fn bind(slot: usize, serial: u32, oscore: capmesh_oscore::Binding) -> Binding {
    // The table's size fits 16 bits.
    Binding(Bound::Session { slot: u16::try_from(slot).unwrap_or(u16::MAX), serial, oscore })
}

pub(super) const fn seal_error(error: ProtectError) -> SealError {
    match error {
        ProtectError::Overflow => SealError::Overflow,
        _ => SealError::NoKeys,
    }
}

#[inline(never)]
pub(super) const fn plain_answer<'b>(code: Code, max_age: Option<u32>) -> Opened<'b> {
    Opening::Answer { code, max_age, content_format: None, payload: &[] }
}

/// Whether a request is to `/.well-known/edhoc`.
fn is_edhoc(outer: &Message<'_>) -> bool {
    let mut path = outer.option_values(OptionNumber::URI_PATH);
    path.next() == Some(b".well-known") && path.next() == Some(b"edhoc") && path.next().is_none()
}
