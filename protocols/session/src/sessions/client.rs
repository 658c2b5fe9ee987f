//! Requests that go out, and the responses to them.

use super::server::{bind, seal_error};
use super::{Binding, Bound, Place, Sessions};
use crate::edhoc::ErrorMessage;
use crate::error::HandshakeError;
use crate::peer::{Peer, Roster};
use crate::stats::count;
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{OpenedResponse, SealError, Sealed};
use capmesh_oscore::{CoseHeader, ProtectError};
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};

/// The diagnostic payload of a 4.01 that is about a single request (RFC 8613 section 7.4). All the
/// others are about the session.
const REPLAY: &[u8] = b"Replay detected";

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    /// Seals a request to a peer: in a session that was just agreed on and takes message_3 along, or
    /// in the present one, or not yet.
    #[inline(never)]
    pub(super) fn seal_for_member(
        &mut self,
        at: usize,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<Binding>, SealError> {
        self.expire_retired();
        if self.table.get(at).is_some_and(|slot| self.is_expired(slot.expires)) {
            self.remove(at);
            count(&mut self.stats.expired);
            return Err(SealError::NoPeer);
        }
        if let Some(sealed) = self.seal_combined(at, inner, out) {
            return sealed;
        }
        let slot = self.table.get_mut(at).ok_or(SealError::NoPeer)?;
        if slot.is_failing {
            return Err(SealError::HandshakeFailed);
        }
        let (address, is_lost) = (slot.address, slot.is_lost);
        let Some(session) = slot.session.as_mut().filter(|_| !is_lost) else {
            self.begin(at);
            return Err(SealError::NotReady);
        };
        let is_old = self.now >= session.since + self.config.lifetime;
        let is_worn = is_old || session.context.is_worn();
        let serial = session.serial;
        let sealed = session.context.protect_request(inner, out);
        slot.used = self.now;
        if is_worn {
            self.begin(at);
        }
        match sealed {
            Ok((len, oscore)) => Ok(Sealed { len, address, binding: bind(at, serial, oscore) }),
            // Nothing more goes out in this session; it is kept for what comes in.
            Err(ProtectError::Exhausted) => {
                if let Some(slot) = self.table.get_mut(at) {
                    slot.is_lost = true;
                }
                Err(SealError::NotReady)
            }
            // Until more numbers are durable.
            Err(ProtectError::NotReserved) => Err(SealError::NotReady),
            Err(error) => Err(seal_error(error)),
        }
    }

    #[inline(never)]
    pub(super) fn reopen_any_request(
        &mut self,
        binding: &Binding,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let (slot, serial, oscore) = match &binding.0 {
            Bound::Plain => return super::copy(outer, out),
            Bound::Session { slot, serial, oscore } => (usize::from(*slot), *serial, oscore),
        };
        let place = self.place_of(slot, serial).ok_or(SealError::NoKeys)?;
        let (_, session) = self.session_at(place).ok_or(SealError::NoKeys)?;
        let inner = session.context.reopen_request(oscore, outer, out);
        inner.map(|inner| inner.as_bytes().len()).map_err(|_| SealError::NoKeys)
    }

    #[inline(never)]
    pub(super) fn open_any_response<'b>(
        &mut self,
        from: SocketAddr,
        to: Peer,
        binding: &mut Binding,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Peer> {
        let (slot, serial, oscore) = match (&mut binding.0, to) {
            (Bound::Plain, Peer::Anonymous(address)) => {
                return open_plain(from, address, outer);
            }
            (Bound::Session { slot, serial, oscore }, Peer::Member(_)) => {
                (usize::from(*slot), *serial, oscore)
            }
            _ => return OpenedResponse::Drop,
        };
        let Some(place) = self.place_of(slot, serial) else { return OpenedResponse::Drop };
        match CoseHeader::of(&outer) {
            Ok(Some(_)) => {}
            Ok(None) => return self.unprotected(from, place, outer),
            Err(_) => return OpenedResponse::Drop,
        }
        let Some((slot, session)) = self.session_at(place) else { return OpenedResponse::Drop };
        match session.context.unprotect_response(oscore, outer, scratch) {
            Ok(inner) => {
                self.heard_response(place, slot, from);
                OpenedResponse::Response { peer: to, inner, ordered: true }
            }
            Err(_) => OpenedResponse::Drop,
        }
    }

    /// An authentic response has come: the peer has the keys, and received the request where it was
    /// sent.
    fn heard_response(&mut self, place: Place, slot: usize, from: SocketAddr) {
        if let Some(slot) = self.table.get_mut(slot) {
            slot.used = self.now;
            slot.is_address_verified = slot.address == from;
            slot.address = from;
        }
        if let Place::Attempt(attempt) = place {
            self.confirm(attempt);
        }
    }

    /// A response without protection to a request with it: perhaps the peer has lost the session,
    /// perhaps somebody else wants that to be believed. Believing it costs a handshake, so it is
    /// believed as often as [`Config::restarts`](crate::Config::restarts) allows; and the session is
    /// given up only when there is another. Where there is another already, believing it costs the request
    /// once more, in the newer session, and is not counted.
    #[inline(never)]
    fn unprotected<'b>(
        &mut self,
        from: SocketAddr,
        place: Place,
        outer: Message<'_>,
    ) -> OpenedResponse<'b, Peer> {
        let is_lost = match outer.code() {
            Code::UNAUTHORIZED => outer.payload() != REPLAY,
            Code::BAD_REQUEST => true,
            code => matches!(place, Place::Attempt(_)) && !code.is_success(),
        };
        let Some((at, _)) = self.session_at(place) else { return OpenedResponse::Drop };
        let rate = self.config.restarts;
        let Some(slot) = self.table.get_mut(at) else { return OpenedResponse::Drop };
        if !is_lost || slot.address != from {
            return OpenedResponse::Drop;
        }
        let is_free = matches!(place, Place::Retired(_));
        if !is_free && !slot.restarts.take(self.now, rate) {
            count(&mut self.stats.restarts_ignored);
            return OpenedResponse::Drop;
        }
        count(&mut self.stats.restarts);
        match place {
            Place::Current(_) => {
                slot.is_lost = true;
                self.begin(at);
            }
            Place::Attempt(attempt) => {
                let error = match (edhoc_error(&outer), outer.code()) {
                    (Some(error), _) => HandshakeError::Error(error),
                    (None, Code::UNAUTHORIZED) => HandshakeError::Unconfirmed,
                    (None, code) => HandshakeError::Code(code),
                };
                self.fail_unconfirmed(attempt, error);
            }
            // There is a newer session, or a handshake for one.
            Place::Retired(_) => {}
        }
        OpenedResponse::Restart
    }
}

/// The EDHOC error message in a response, if there is one.
pub(super) fn edhoc_error(outer: &Message<'_>) -> Option<ErrorMessage> {
    let format = outer.option_uint(OptionNumber::CONTENT_FORMAT);
    if format == Some(u32::from(super::respond::EDHOC)) {
        ErrorMessage::parse(outer.payload())
    } else {
        None
    }
}

fn open_plain<'b>(
    from: SocketAddr,
    to: SocketAddr,
    outer: Message<'b>,
) -> OpenedResponse<'b, Peer> {
    let is_protected = outer.option(OptionNumber::OSCORE).is_some();
    if (from == to || to.ip().is_multicast()) && !is_protected {
        OpenedResponse::Response { peer: Peer::Anonymous(from), inner: outer, ordered: false }
    } else {
        OpenedResponse::Drop
    }
}
