//! The message layer (RFC 7252 section 4): turns, transmission, retransmission, acknowledgement,
//! reset.

use super::Endpoint;
use super::exchange::{Phase, Purpose};
use super::hash::{Address, micros, place};
use super::outbox::Reply;
use super::stats::count;
use super::timers::Timer;
use super::types::{EndReason, ExchangeId, Failure, Outcome, Output, Reliability};
use crate::message::{Kind, Message};
use crate::security::{SealError, Sealed, Security};
use capmesh_wire::Instant;
use core::net::SocketAddr;

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
    /// The next message id towards an address. Addresses share `EXCHANGES` counters, so that the ids
    /// of one do not come round because there are many others.
    pub(super) fn next_id(&mut self, address: Address) -> u16 {
        let Some(id) = self.ids.get_mut(place(address.bits(), EXCHANGES)) else { return 0 };
        *id = id.wrapping_add(1);
        *id
    }

    /// Leaves a reply for `poll`.
    pub(super) fn reply(&mut self, to: Address, reply: Reply) {
        if !self.outbox.push(to.socket, reply) {
            count(&mut self.stats.not_polled);
        }
    }

    /// Sends the next reply that has not been overwritten meanwhile.
    pub(super) fn poll_reply(&mut self, buf: &mut [u8]) -> Option<Output> {
        while let Some((to, reply)) = self.outbox.pop() {
            let len = match reply {
                Reply::Empty(kind, id) => copy(&kind.empty_message(id), buf),
                Reply::Stored(stored) => {
                    self.replies.get(stored).and_then(|message| copy(message, buf))
                }
            };
            if let Some(len) = len {
                count(&mut self.stats.transmitted);
                return Some(Output::Transmit { to, len });
            }
            count(&mut self.stats.not_polled);
        }
        None
    }

    /// Lets an exchange be sent, now or when it is its turn.
    pub(super) fn enqueue(&mut self, slot: u16) {
        let Some(exchange) = self.exchanges.get_mut(slot) else { return };
        let Some(remote) = self.remotes.get_mut(exchange.remote) else { return };
        exchange.phase = Phase::Ready;
        if exchange.takes_turns() {
            if remote.outstanding >= u16::from(self.config.nstart.max(1)) {
                exchange.phase = Phase::Queued;
                remote.queue.push(&mut self.exchanges, slot);
                return;
            }
            remote.outstanding += 1;
            exchange.counted = true;
        }
        self.timers.set(Timer::Exchange(slot), self.now);
    }

    /// Notes that an exchange is no longer outstanding, and lets the next one take its turn.
    pub(super) fn settle(&mut self, slot: u16) {
        let Some(exchange) = self.exchanges.get_mut(slot).filter(|exchange| exchange.counted)
        else {
            return;
        };
        exchange.counted = false;
        let Some(remote) = self.remotes.get_mut(exchange.remote) else { return };
        match remote.queue.pop(&self.exchanges) {
            None => remote.outstanding -= 1,
            Some(next) => {
                if let Some(exchange) = self.exchanges.get_mut(next) {
                    exchange.phase = Phase::Ready;
                    exchange.counted = true;
                }
                self.timers.set(Timer::Exchange(next), self.now);
            }
        }
    }

    /// Forgets the id that a message was sent with, so that nothing acknowledges or resets it.
    pub(super) fn unindex(&mut self, slot: u16) {
        let Some(exchange) = self.exchanges.get_mut(slot).filter(|exchange| exchange.indexed)
        else {
            return;
        };
        exchange.indexed = false;
        let Some(remote) = self.remotes.get(exchange.remote) else { return };
        self.by_id.remove(self.secret.id(remote.address, exchange.id), slot);
    }

    /// Takes an exchange out of everything that leads to it.
    pub(super) fn release(&mut self, slot: u16) -> bool {
        let Some(exchange) = self.exchanges.get(slot) else { return false };
        let (phase, remote) = (exchange.phase, exchange.remote);
        match phase {
            Phase::Held => self.held.remove(&mut self.exchanges, slot),
            Phase::Queued => {
                if let Some(remote) = self.remotes.get_mut(remote) {
                    remote.queue.remove(&mut self.exchanges, slot);
                }
            }
            _ => {}
        }
        self.settle(slot);
        self.unindex(slot);
        self.timers.clear(Timer::Exchange(slot));
        self.remotes.release(remote);
        self.messages.release(slot);
        self.exchanges.remove(slot)
    }

    /// Ends an exchange whose end is to be reported by `poll`.
    pub(super) fn end(&mut self, slot: u16, failure: Option<Failure>) {
        self.settle(slot);
        self.unindex(slot);
        if let Some(exchange) = self.exchanges.get_mut(slot) {
            exchange.phase = Phase::Ended(failure);
            self.timers.set(Timer::Exchange(slot), self.now);
        }
    }

    /// Lets a request wait for the security layer.
    pub(super) fn hold(&mut self, slot: u16) {
        self.settle(slot);
        if let Some(exchange) = self.exchanges.get_mut(slot) {
            exchange.phase = Phase::Held;
            if exchange.held_until == Instant::ZERO {
                exchange.held_until = self.now + self.config.held_timeout;
            }
            let until = exchange.held_until;
            self.held.push(&mut self.exchanges, slot);
            self.timers.set(Timer::Exchange(slot), until);
        }
    }

    /// Tries held requests again if the security layer has changed.
    pub(super) fn retry_held(&mut self) {
        let readiness = self.security.readiness();
        if readiness == self.readiness {
            return;
        }
        self.readiness = readiness;
        while let Some(slot) = self.held.pop(&self.exchanges) {
            self.enqueue(slot);
        }
    }

    /// Deals with an exchange whose timer has run out.
    pub(super) fn exchange_due(&mut self, slot: u16, buf: &mut [u8]) -> Option<Output> {
        let exchange = self.exchanges.get(slot)?;
        match exchange.phase {
            Phase::Ready => self.send(slot, buf),
            Phase::Sent if exchange.is_confirmable() => self.retransmit(slot, buf),
            Phase::Sent => {
                self.settle(slot);
                self.wait_for_response(slot);
                None
            }
            Phase::Waiting => {
                let to_group =
                    matches!(&exchange.purpose, Purpose::Request(request) if request.is_to_group());
                self.end(slot, (!to_group).then_some(Failure::NoResponse));
                None
            }
            Phase::Held => {
                self.held.remove(&mut self.exchanges, slot);
                self.end(slot, Some(Failure::Security(SealError::NotReady)));
                None
            }
            Phase::Ended(failure) => {
                let exchange = ExchangeId { slot, generation: self.exchanges.generation(slot) };
                self.release(slot);
                Some(Output::Outcome(match failure {
                    Some(reason) => Outcome::Failed { exchange, reason },
                    None => Outcome::Finished { exchange },
                }))
            }
            Phase::Queued | Phase::Observing => None,
        }
    }

    /// Sends a message for the first time.
    fn send(&mut self, slot: u16, buf: &mut [u8]) -> Option<Output> {
        let is_request = matches!(self.exchanges.get(slot)?.purpose, Purpose::Request(_));
        if is_request && let Err(error) = self.seal_request(slot, buf) {
            match error {
                SealError::NotReady => self.hold(slot),
                error => {
                    count(&mut self.stats.not_sealed);
                    self.end(slot, Some(Failure::Security(error)));
                }
            }
            return None;
        }
        let timeout = self.first_timeout();
        let exchange = self.exchanges.get_mut(slot)?;
        exchange.phase = Phase::Sent;
        exchange.retransmissions = 0;
        exchange.timeout = timeout;
        let confirmable = exchange.is_confirmable();
        let timeout = match &exchange.purpose {
            Purpose::GroupResponse => None,
            Purpose::Request(request) if request.is_to_group() => {
                exchange.phase = Phase::Waiting;
                Some(micros(self.config.multicast_wait))
            }
            Purpose::Request(request) if !confirmable && !request.wants_response => {
                exchange.phase = Phase::Ended(None);
                Some(0)
            }
            _ => Some(timeout),
        };
        let over = exchange.phase != Phase::Sent;
        let output = self.transmit(slot, buf);
        match timeout {
            Some(timeout) => self.timers.set(Timer::Exchange(slot), after(self.now, timeout)),
            None => {
                self.release(slot);
            }
        }
        if over {
            self.settle(slot);
        }
        output
    }

    /// Sends a confirmable message again, or gives it up (RFC 7252 section 4.2).
    fn retransmit(&mut self, slot: u16, buf: &mut [u8]) -> Option<Output> {
        let exchange = self.exchanges.get_mut(slot)?;
        if exchange.retransmissions >= self.config.max_retransmit {
            count(&mut self.stats.timeouts);
            self.undelivered(slot, Failure::Timeout, EndReason::Timeout);
            return None;
        }
        exchange.retransmissions += 1;
        exchange.timeout = exchange.timeout.saturating_mul(2);
        self.timers.set(Timer::Exchange(slot), after(self.now, exchange.timeout));
        let output = self.transmit(slot, buf)?;
        count(&mut self.stats.retransmitted);
        Some(output)
    }

    /// A message was reset or never acknowledged.
    fn undelivered(&mut self, slot: u16, failure: Failure, reason: EndReason) {
        let Some(exchange) = self.exchanges.get(slot) else { return };
        let observer = match exchange.purpose {
            Purpose::Request(_) => return self.end(slot, Some(failure)),
            Purpose::Ping => {
                return self.end(slot, Some(failure).filter(|it| *it != Failure::Reset));
            }
            Purpose::Notification(observer) => Some(observer),
            Purpose::Response(observation) => observation.and_then(|id| self.observer_slot(id)),
            Purpose::GroupResponse => None,
        };
        self.release(slot);
        if let Some(observer) = observer {
            self.observation_over(observer, reason);
        }
    }

    /// Writes the message of a slot to `buf`, unless too much has gone to an address that
    /// is not verified, and notes its id.
    fn transmit(&mut self, slot: u16, buf: &mut [u8]) -> Option<Output> {
        let exchange = self.exchanges.get_mut(slot)?;
        let message = self.messages.get(slot);
        if exchange.budget != u32::MAX {
            let left =
                u32::try_from(message.len()).ok().and_then(|n| exchange.budget.checked_sub(n));
            let Some(left) = left else {
                count(&mut self.stats.withheld);
                return None;
            };
            exchange.budget = left;
        }
        let remote = self.remotes.get(exchange.remote)?;
        let (id, address) = (id_of(message), remote.address);
        let len = copy(message, buf)?;
        if !exchange.indexed || exchange.id != id {
            self.unindex(slot);
            let exchange = self.exchanges.get_mut(slot)?;
            (exchange.id, exchange.indexed) = (id, true);
            self.by_id.insert(self.secret.id(address, id), slot);
        }
        count(&mut self.stats.transmitted);
        Some(Output::Transmit { to: address.socket, len })
    }

    /// ACK_TIMEOUT times a random factor of up to ACK_RANDOM_FACTOR, in microseconds.
    fn first_timeout(&mut self) -> u32 {
        let jitter = self.secret.random_below(self.config.ack_jitter_micros());
        micros(self.config.ack_timeout).saturating_add(jitter)
    }

    /// The request has arrived, or should have; its response may take its time.
    fn wait_for_response(&mut self, slot: u16) {
        if let Some(exchange) = self.exchanges.get_mut(slot) {
            exchange.phase = Phase::Waiting;
            self.timers.set(Timer::Exchange(slot), self.now + self.config.response_timeout);
        }
    }

    /// An empty acknowledgement came.
    pub(super) fn on_acknowledgement(&mut self, from: Address, id: u16) {
        let sent = self.sent_with(from, id).filter(|slot| {
            let exchange = self.exchanges.get(*slot);
            exchange
                .is_some_and(|exchange| exchange.is_confirmable() && exchange.phase == Phase::Sent)
        });
        let Some(slot) = sent else { return count(&mut self.stats.unmatched) };
        let Some(exchange) = self.exchanges.get(slot) else { return };
        let observer = match &exchange.purpose {
            Purpose::Request(request) => {
                let wants_response = request.wants_response;
                self.unindex(slot);
                self.settle(slot);
                if wants_response {
                    self.wait_for_response(slot);
                } else {
                    self.end(slot, None);
                }
                return;
            }
            Purpose::Ping => return self.end(slot, None),
            Purpose::Notification(observer) => Some(*observer),
            Purpose::Response(_) | Purpose::GroupResponse => None,
        };
        if let Some(observer) = observer.and_then(|slot| self.observers.get_mut(slot)) {
            observer.is_reachable = true;
            observer.heard = self.now;
        }
        if id_of(self.messages.get(slot)) == id {
            if let Some(observer) = observer.and_then(|slot| self.observers.get_mut(slot)) {
                observer.outstanding = super::table::NONE;
            }
            self.release(slot);
        } else {
            // A newer notification took its place: that one is sent self.now, by its own rules.
            self.settle(slot);
            self.unindex(slot);
            self.enqueue(slot);
        }
    }

    /// A reset came.
    pub(super) fn on_reset(&mut self, from: Address, id: u16) {
        if let Some(slot) = self.sent_with(from, id) {
            self.undelivered(slot, Failure::Reset, EndReason::Reset);
        } else if let Some(observer) = self.notified_with(from, id) {
            self.observation_over(observer, EndReason::Reset);
        } else {
            count(&mut self.stats.unmatched);
        }
    }

    /// The exchange whose last message to `address` had this id.
    fn sent_with(&self, address: Address, id: u16) -> Option<u16> {
        let hash = self.secret.id(address, id);
        self.by_id.find(hash, |slot| {
            let Some(exchange) = self.exchanges.get(slot) else { return false };
            let remote = self.remotes.get(exchange.remote);
            exchange.indexed
                && exchange.id == id
                && remote.is_some_and(|remote| remote.address == address)
        })
    }

    /// Answers a confirmable message that has to be rejected.
    pub(super) fn reset(&mut self, to: Address, message: Message<'_>) {
        self.reply(to, Reply::Empty(Kind::Reset, message.id()));
    }

    /// Seals the request of a slot, by way of `buf`.
    #[inline(never)]
    fn seal_request(&mut self, slot: u16, buf: &mut [u8]) -> Result<(), SealError> {
        let id = match self.exchanges.get(slot).and_then(|e| self.remotes.get(e.remote)) {
            Some(remote) => self.next_id(remote.address),
            None => return Err(SealError::NoPeer),
        };
        let exchange = self.exchanges.get_mut(slot).ok_or(SealError::NoPeer)?;
        let Purpose::Request(request) = &mut exchange.purpose else {
            return Err(SealError::NoPeer);
        };
        self.messages.set_id(slot, id);
        let inner = Message::parse(self.messages.get(slot)).map_err(|_| SealError::Overflow)?;
        let longest = buf.len().min(MTU);
        let out = buf.get_mut(..longest).unwrap_or_default();
        let sealed = self.security.seal_request(self.now, request.peer, inner, out)?;
        let Sealed { len, address, binding } = sealed;
        request.binding = Some(binding);
        let outer = out.get(..len).ok_or(SealError::Overflow)?;
        if !self.messages.put(slot, outer) {
            return Err(SealError::Overflow);
        }
        self.redirect(slot, address);
        Ok(())
    }

    /// Notes that a message goes to another address than was known when it was taken.
    fn redirect(&mut self, slot: u16, address: SocketAddr) {
        let address = self.secret.address(address);
        let Some(exchange) = self.exchanges.get(slot) else { return };
        if self.remotes.get(exchange.remote).is_none_or(|old| old.address == address) {
            return;
        }
        let counted = exchange.counted;
        self.settle(slot);
        let Some(exchange) = self.exchanges.get_mut(slot) else { return };
        self.remotes.release(exchange.remote);
        let Some(remote) = self.remotes.acquire(address) else {
            return;
        };
        exchange.remote = remote;
        exchange.counted = counted;
        if let Some(remote) = self.remotes.get_mut(remote).filter(|_| counted) {
            remote.outstanding += 1;
        }
    }
}

/// A point in time some microseconds later.
pub(super) fn after(now: Instant, micros: u32) -> Instant {
    Instant::from_micros(now.as_micros().saturating_add(u64::from(micros)))
}

/// The id in a message's header.
pub(super) fn id_of(message: &[u8]) -> u16 {
    match message {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Copies a message to the start of `buf`, if it fits.
fn copy(message: &[u8], buf: &mut [u8]) -> Option<usize> {
    buf.get_mut(..message.len())?.copy_from_slice(message);
    Some(message.len())
}

/// The kind that a request is sent as.
pub(super) const fn kind_of(reliability: Reliability) -> Kind {
    match reliability {
        Reliability::Confirmable => Kind::Confirmable,
        Reliability::NonConfirmable => Kind::NonConfirmable,
    }
}
