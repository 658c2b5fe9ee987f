//! The role that asks: requests, their responses, and observations of the other side's resources.

use super::dedup::Progress;
use super::exchange::{Exchange, Observe, Phase, Purpose, Request};
use super::hash::{Address, is_group};
use super::outbox::Reply;
use super::reliability::kind_of;
use super::stats::count;
use super::types::{Event, ExchangeId, Failure, Reliability, RequestError};
use super::{Build, ECHO, Endpoint, GROUPS, OBSERVE};
use crate::message::{Code, Kind, Message, MessageWriter, Overflow, Token};
use crate::option::OptionNumber;
use crate::security::{OpenedResponse, SealError, Security};
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::time::Duration;

/// Times that one request is sealed anew because the other side has lost its context.
const MAX_RESTARTS: u8 = 2;

/// What goes into a request when it is sealed anew.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// A new token and nothing else.
    Nothing,
    /// A new token, and an Echo option.
    Echo(&'a [u8]),
    /// The same token, and Observe: 1.
    Deregister,
}

impl Change<'_> {
    /// The most bytes that it makes a request longer.
    const fn longer(self) -> usize {
        const TOKEN_AND_OPTION_HEADER: usize = 8 + 5;
        TOKEN_AND_OPTION_HEADER
            + match self {
                Self::Nothing => 0,
                Self::Echo(value) => value.len(),
                Self::Deregister => 1,
            }
    }
}

impl<
    S: Security,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> Endpoint<S, MTU, EXCHANGES, MESSAGES, UNANSWERED, OBSERVERS, RECENT, REPLIES>
{
    pub(super) fn start_request(
        &mut self,
        to: S::Peer,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<ExchangeId, RequestError> {
        if !code.is_request() {
            return Err(RequestError::Code);
        }
        let address = self.security.address(to).ok_or(RequestError::NoAddress)?;
        let to_group = is_group(address);
        if to_group && !GROUPS {
            return Err(RequestError::NoAddress);
        }
        if to_group && reliability == Reliability::Confirmable {
            return Err(RequestError::ConfirmableMulticast);
        }
        let slot = self.next_exchange().ok_or(RequestError::Full)?;
        let token = self.new_token(slot);
        let kind = kind_of(reliability);
        let mut writer = MessageWriter::new(&mut self.scratch, kind, code, 0, token)?;
        build(&mut writer)?;
        let message = writer.into_message();
        let is_observable = OBSERVE && matches!(code, Code::GET | Code::FETCH) && !to_group;
        let asks = is_observable && message.option_uint(OptionNumber::OBSERVE) == Some(0);
        let request = Request {
            peer: to,
            binding: None,
            token,
            reliability,
            to_group,
            wants_response: message.option_uint(OptionNumber::NO_RESPONSE)
                != Some(NO_RESPONSE_AT_ALL),
            has_echo: ECHO && message.option(OptionNumber::ECHO).is_some(),
            restarts: 0,
            observe: if asks { Observe::Asked } else { Observe::No },
        };
        self.messages.put(slot, message.as_bytes());
        let address = self.secret.address(address);
        self.take_up(address, Purpose::Request(request))
    }

    pub(super) fn start_ping(&mut self, to: SocketAddr) -> Result<ExchangeId, RequestError> {
        if is_group(to) {
            return Err(RequestError::ConfirmableMulticast);
        }
        let to = self.secret.address(to);
        let id = self.next_id(to);
        let slot = self.next_exchange().ok_or(RequestError::Full)?;
        self.messages.put(slot, &Kind::Confirmable.empty_message(id));
        self.take_up(to, Purpose::Ping)
    }

    /// The slot for one more exchange, if there is room for a message of any length.
    pub(super) fn next_exchange(&mut self) -> Option<u16> {
        self.exchanges.next_free().filter(|_| self.messages.has_room(MTU))
    }

    /// Starts an exchange whose message is kept for the next free slot.
    pub(super) fn take_up(
        &mut self,
        to: Address,
        purpose: Purpose<S::Peer, S::Binding>,
    ) -> Result<ExchangeId, RequestError> {
        let remote = self.remotes.acquire(to).ok_or(RequestError::Full)?;
        let exchange = Exchange::new(purpose, remote);
        let Some((slot, generation)) = self.exchanges.insert(exchange) else {
            self.remotes.release(remote);
            return Err(RequestError::Full);
        };
        self.enqueue(slot);
        Ok(ExchangeId { slot, generation })
    }

    /// A token that leads to a slot: its number, and 32 random bits (RFC 7252 section 5.3.1).
    fn new_token(&mut self, slot: u16) -> Token {
        let [high, low] = slot.to_be_bytes();
        let [a, b, c, d, ..] = self.secret.random().to_be_bytes();
        let token = if EXCHANGES <= 256 {
            Token::new(&[low, a, b, c, d])
        } else {
            Token::new(&[high, low, a, b, c, d])
        };
        token.unwrap_or_default()
    }

    /// The slot of the request that has this token and is out.
    fn slot_of_token(&self, token: Token) -> Option<u16> {
        let slot = match *token.as_bytes() {
            [low, _, _, _, _] if EXCHANGES <= 256 => u16::from(low),
            [high, low, _, _, _, _] if EXCHANGES > 256 => u16::from_be_bytes([high, low]),
            _ => return None,
        };
        let exchange = self.exchanges.get(slot)?;
        let Purpose::Request(request) = &exchange.purpose else { return None };
        let is_out = matches!(exchange.phase, Phase::Sent | Phase::Waiting | Phase::Observing);
        (is_out && request.token == token).then_some(slot)
    }

    #[inline(never)]
    pub(super) fn on_response<'b>(
        &mut self,
        from: Address,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, S::Peer>> {
        let acknowledges = outer.kind() == Kind::Acknowledgement;
        let key = self.message_key(from, outer);
        if !acknowledges && let Some(progress) = self.recent.find(key, self.now) {
            count(&mut self.stats.duplicates);
            if progress == Progress::Acknowledged {
                self.reply(from, Reply::Empty(Kind::Acknowledgement, outer.id()));
            }
            return None;
        }
        let slot = self.slot_of_token(outer.token()).filter(|slot| {
            let exchange = self.exchanges.get(*slot);
            !acknowledges || exchange.is_some_and(|e| e.indexed && e.id == outer.id())
        });
        let Some(slot) = slot else {
            count(&mut self.stats.unmatched);
            if !acknowledges {
                self.reset(from, outer);
            }
            return None;
        };
        let Purpose::Request(request) = &mut self.exchanges.get_mut(slot)?.purpose else {
            return None;
        };
        let (to, binding) = (request.peer, request.binding.as_mut()?);
        match self.security.open_response(self.now, from.socket, to, binding, outer, scratch) {
            OpenedResponse::Drop => {
                count(&mut self.stats.not_authentic);
                None
            }
            OpenedResponse::Restart => {
                self.restart(slot);
                None
            }
            OpenedResponse::Response { peer, inner, ordered } => {
                self.on_opened(from, outer, slot, Opened { peer, inner, ordered, key })
            }
        }
    }

    /// Goes on with a response that is authentic.
    fn on_opened<'b>(
        &mut self,
        from: Address,
        outer: Message<'b>,
        slot: u16,
        response: Opened<'b, S::Peer>,
    ) -> Option<Event<'b, S::Peer>> {
        let Opened { peer, inner, ordered, key } = response;
        let confirmable = outer.kind() == Kind::Confirmable;
        let understands = self.config.understands;
        if inner.options().any(|(number, _)| number.is_critical() && !understands(number)) {
            count(&mut self.stats.bad_options);
            if confirmable {
                self.reset(from, outer);
            }
            self.end(slot, Some(Failure::BadOption));
            return None;
        }
        if outer.kind() != Kind::Acknowledgement {
            let progress = if confirmable {
                self.reply(from, Reply::Empty(Kind::Acknowledgement, outer.id()));
                Progress::Acknowledged
            } else {
                Progress::Silent
            };
            let class = self.class_of(peer, from);
            self.remember(class, key, progress, outer.kind());
        }
        let echo =
            inner.option(OptionNumber::ECHO).filter(|_| ECHO && inner.code() == Code::UNAUTHORIZED);
        if let Some(echo) = echo
            && self.answer_challenge(slot, echo)
        {
            return None;
        }
        let last = self.progress(slot, inner, ordered)?;
        let exchange = ExchangeId { slot, generation: self.exchanges.generation(slot) };
        if last {
            self.release(slot);
        }
        Some(Event::Response { exchange, peer, message: inner, last })
    }

    /// Where a response leaves its exchange: whether it is the last one, or `None` if it is a
    /// notification that comes too late.
    fn progress(&mut self, slot: u16, response: Message<'_>, ordered: bool) -> Option<bool> {
        let exchange = self.exchanges.get_mut(slot)?;
        let Purpose::Request(request) = &mut exchange.purpose else { return None };
        if request.is_to_group() {
            return Some(false);
        }
        if !OBSERVE {
            return Some(true);
        }
        let sequence =
            response.option_uint(OptionNumber::OBSERVE).filter(|_| response.code().is_success());
        match (request.observe, sequence) {
            (Observe::Ending, Some(_)) => {
                count(&mut self.stats.stale_notifications);
                return None;
            }
            (Observe::Running(newest, at), Some(sequence))
                if !ordered && !is_fresh(newest, at, sequence, self.now) =>
            {
                count(&mut self.stats.stale_notifications);
                return None;
            }
            (Observe::Asked | Observe::Running(..), Some(sequence)) => {
                request.observe = Observe::Running(sequence, self.now);
            }
            _ => return Some(true),
        }
        if exchange.phase != Phase::Observing {
            self.settle(slot);
            self.unindex(slot);
            self.timers.clear(super::timers::Timer::Exchange(slot));
            self.exchanges.get_mut(slot)?.phase = Phase::Observing;
        }
        Some(false)
    }

    /// Repeats a request with the Echo value that the other side wants. Returns whether it can.
    fn answer_challenge(&mut self, slot: u16, echo: &[u8]) -> bool {
        let exchange = self.exchanges.get_mut(slot);
        let Some(Purpose::Request(request)) = exchange.map(|exchange| &mut exchange.purpose) else {
            return false;
        };
        if request.has_echo || request.is_to_group() {
            return false;
        }
        request.has_echo = true;
        if self.rewrite(slot, Change::Echo(echo)).is_err() {
            return false;
        }
        self.enqueue(slot);
        true
    }

    /// The other side has lost its security context.
    fn restart(&mut self, slot: u16) {
        let exchange = self.exchanges.get_mut(slot);
        let Some(Purpose::Request(request)) = exchange.map(|exchange| &mut exchange.purpose) else {
            return;
        };
        request.restarts += 1;
        if request.restarts > MAX_RESTARTS {
            return self.end(slot, Some(Failure::Restarted));
        }
        if OBSERVE && let Observe::Running(..) = request.observe {
            request.observe = Observe::Asked;
        }
        match self.rewrite(slot, Change::Nothing) {
            Ok(()) => self.enqueue(slot),
            Err(error) => self.end(slot, Some(Failure::Security(error))),
        }
    }

    pub(super) fn end_observation_there(&mut self, slot: u16) -> bool {
        let Some(exchange) = self.exchanges.get_mut(slot) else { return false };
        let Purpose::Request(request) = &mut exchange.purpose else { return false };
        if !OBSERVE || exchange.phase != Phase::Observing {
            return false;
        }
        request.observe = Observe::Ending;
        match self.rewrite(slot, Change::Deregister) {
            Ok(()) => self.enqueue(slot),
            Err(error) => self.end(slot, Some(Failure::Security(error))),
        }
        true
    }

    /// Takes back a request that was sent: its inner message, with a change, is kept again
    /// and the exchange belongs to no queue.
    fn rewrite(&mut self, slot: u16, change: Change<'_>) -> Result<(), SealError> {
        self.settle(slot);
        self.unindex(slot);
        self.timers.clear(super::timers::Timer::Exchange(slot));
        let token = self.new_token(slot);
        let exchange = self.exchanges.get_mut(slot).ok_or(SealError::NoKeys)?;
        let Purpose::Request(request) = &mut exchange.purpose else {
            return Err(SealError::NoKeys);
        };
        exchange.held_until = Instant::ZERO;
        let binding = request.binding.take().ok_or(SealError::NoKeys)?;
        let outer = Message::parse(self.messages.get(slot)).map_err(|_| SealError::NoKeys)?;
        let len = self.security.reopen_request(&binding, outer, &mut self.scratch)?;
        let inner = self.scratch.get(..len).unwrap_or_default();
        let inner = Message::parse(inner).map_err(|_| SealError::NoKeys)?;
        if !matches!(change, Change::Deregister) {
            request.token = token;
        }
        let room = self.messages.room(slot, (len + change.longer()).min(MTU));
        let len = write_changed(inner, request.token, change, room.ok_or(Overflow)?)?;
        self.messages.shorten(slot, len);
        Ok(())
    }
}

/// A response as the security layer has opened it.
#[derive(Clone, Copy)]
struct Opened<'b, P> {
    peer: P,
    inner: Message<'b>,
    ordered: bool,
    key: u64,
}

/// Value of the No-Response option that wants no response of any class (RFC 7967 section 2.1).
const NO_RESPONSE_AT_ALL: u32 = 2 | 8 | 16;

/// Writes a request with a change; returns its length.
fn write_changed(
    request: Message<'_>,
    token: Token,
    change: Change<'_>,
    buf: &mut [u8],
) -> Result<usize, Overflow> {
    let changed = match change {
        Change::Nothing => None,
        Change::Echo(value) => Some((OptionNumber::ECHO, value)),
        Change::Deregister => Some((OptionNumber::OBSERVE, &[1][..])),
    };
    let mut writer = MessageWriter::new(buf, request.kind(), request.code(), 0, token)?;
    for (number, value) in request.options() {
        if changed.is_none_or(|(changed, _)| number != changed) {
            writer.option(number, value)?;
        }
    }
    if let Some((number, value)) = changed {
        writer.option(number, value)?;
    }
    writer.payload(request.payload())?;
    Ok(writer.finish())
}

/// Whether a notification is newer than the newest one (RFC 7641 section 3.4): by its sequence
/// number, which counts round 24 bits, or because the other is more than 128 s old.
fn is_fresh(newest: u32, at: Instant, sequence: u32, now: Instant) -> bool {
    const HALF: u32 = 1 << 23;
    let ahead = sequence.wrapping_sub(newest) & (2 * HALF - 1);
    (ahead != 0 && ahead < HALF) || now > at + Duration::from_secs(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_that_of_rfc_7641_section_3_4() {
        let at = Instant::from_secs(1000);
        let soon = at + Duration::from_secs(128);
        assert!(is_fresh(1, at, 2, soon));
        assert!(!is_fresh(2, at, 1, soon));
        assert!(!is_fresh(2, at, 2, soon));
        assert!(is_fresh(0xff_ffff, at, 0, soon));
        assert!(!is_fresh(0, at, 0xff_ffff, soon));
        assert!(is_fresh(0, at, (1 << 23) - 1, soon));
        assert!(!is_fresh(0, at, 1 << 23, soon));
        assert!(is_fresh(2, at, 1, soon + Duration::from_micros(1)));
    }
}
