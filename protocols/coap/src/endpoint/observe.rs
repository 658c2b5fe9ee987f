//! The observations that this side serves (RFC 7641 section 4).

use super::dedup::Class;
use super::exchange::Purpose;
use super::hash::Address;
use super::outbox::Reply;
use super::reliability::id_of;
use super::stats::count;
use super::table::NONE;
use super::timers::Timer;
use super::types::{
    EndReason, ObservationId, ObserveError, Outcome, Output, Reliability, RespondError, Responder,
};
use super::{Build, Endpoint, OBSERVE};
use crate::message::{Code, Kind, MessageWriter, Token};
use crate::option::OptionNumber;
use crate::security::{Answer, Security};
use capmesh_wire::Instant;

/// A client that wants to hear of changes.
#[derive(Debug)]
pub(super) struct Observer<P, B> {
    peer: P,
    address: Address,
    token: Token,
    /// The hash of address and token by which it is found.
    relation: u64,
    binding: B,
    class: Class,
    /// Value of the last Observe option.
    sequence: u32,
    /// Non-confirmable notifications since the last confirmable one, and when that was.
    unconfirmed: u16,
    confirmed_at: Instant,
    /// When it last said that it observes, or acknowledged something.
    pub(super) heard: Instant,
    /// Id of the last non-confirmable notification, which may be reset.
    last_id: Option<u16>,
    /// The slot of the confirmable notification that is not acknowledged, or [`NONE`].
    pub(super) outstanding: u16,
    /// Whether it has acknowledged something. Until then, and unless its address is verified, it
    /// gets nothing but confirmable notifications: one at a time, and the first one unacknowledged
    /// ends the observation.
    pub(super) is_reachable: bool,
    /// Set once it is over, until that is reported.
    ended: Option<EndReason>,
}

impl<P, B> Observer<P, B> {
    /// The value of the next Observe option, which counts round 24 bits.
    pub(super) const fn next_sequence(&mut self) -> u32 {
        self.sequence = (self.sequence + 1) & 0xff_ffff;
        self.sequence
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
    pub(super) fn take_observer(&mut self, to: Responder) -> Result<ObservationId, ObserveError> {
        if !OBSERVE {
            return Err(ObserveError::Full);
        }
        let unanswered = self
            .unanswered
            .named(to.slot, to.generation)
            .filter(|unanswered| unanswered.wants_observation)
            .ok_or(ObserveError::NotAsked)?;
        let (peer, address, token) = (unanswered.peer, unanswered.address, unanswered.token);
        let (binding, class) = (unanswered.binding.clone(), unanswered.class);
        let slot = if let Some(slot) = self.find_observer(address, peer, token) {
            if let Some(observer) = self.observers.get_mut(slot) {
                observer.binding = binding;
                observer.class = class;
                observer.heard = self.now;
            }
            slot
        } else {
            let observer = Observer {
                peer,
                address,
                token,
                relation: self.relation(address, token),
                binding,
                class,
                sequence: 0,
                unconfirmed: 0,
                confirmed_at: self.now,
                heard: self.now,
                last_id: None,
                outstanding: NONE,
                is_reachable: false,
                ended: None,
            };
            let relation = observer.relation;
            let (slot, _) = self.observers.insert(observer).ok_or(ObserveError::Full)?;
            self.by_relation.insert(relation, slot);
            slot
        };
        let id = ObservationId { slot, generation: self.observers.generation(slot) };
        if let Some(unanswered) = self.unanswered.get_mut(to.slot) {
            unanswered.observation = Some(id);
        }
        Ok(id)
    }

    pub(super) fn send_notification(
        &mut self,
        id: ObservationId,
        reliability: Reliability,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        if !OBSERVE {
            return Err(RespondError::Gone);
        }
        let slot = self.observer_slot(id).ok_or(RespondError::Gone)?;
        if !code.is_response() {
            return Err(RespondError::Code);
        }
        let way = self.notification_way(slot, reliability);
        let len = self.write_notification(slot, way, code, build)?;
        let sent = match way {
            Way::Once => self.notify_once(slot, len),
            Way::Confirmable(exchange) => self.notify_reliably(slot, exchange, len),
        };
        match sent {
            Ok(()) if !code.is_success() => {
                // The last notification goes its way without the observer.
                if let Way::Confirmable(exchange) = way
                    && let Some(exchange) = self.exchanges.get_mut(exchange)
                {
                    exchange.purpose = Purpose::Response(None);
                }
                self.forget_observer(id);
            }
            Err(RespondError::Security(_)) => {
                count(&mut self.stats.not_sealed);
                self.forget_observer(id);
            }
            Ok(()) | Err(_) => {}
        }
        sent
    }

    /// Whether a notification is confirmable, and the slot of its exchange then.
    fn notification_way(&mut self, slot: u16, reliability: Reliability) -> Way {
        let Some(observer) = self.observers.get(slot) else { return Way::Once };
        if observer.outstanding != NONE {
            return Way::Confirmable(observer.outstanding);
        }
        let is_known = observer.class == Class::Verified
            || observer.is_reachable
            || self.config.amplification == 0;
        let due = reliability == Reliability::Confirmable
            || !is_known
            || observer.unconfirmed.saturating_add(1) >= self.config.confirm_every
            || self.now >= observer.confirmed_at + self.config.confirm_within;
        let exchange = if due { self.next_exchange() } else { None };
        exchange.map_or(Way::Once, Way::Confirmable)
    }

    /// Writes the inner notification to the scratch and returns its length.
    fn write_notification(
        &mut self,
        slot: u16,
        way: Way,
        code: Code,
        build: Build<'_>,
    ) -> Result<usize, RespondError> {
        let address = self.observers.get(slot).ok_or(RespondError::Gone)?.address;
        let id = self.next_id(address);
        let observer = self.observers.get_mut(slot).ok_or(RespondError::Gone)?;
        let kind = match way {
            Way::Once => Kind::NonConfirmable,
            Way::Confirmable(_) => Kind::Confirmable,
        };
        let mut writer = MessageWriter::new(&mut self.scratch, kind, code, id, observer.token)?;
        if code.is_success() {
            writer.option_uint(OptionNumber::OBSERVE, observer.next_sequence())?;
        }
        build(&mut writer)?;
        Ok(writer.finish())
    }

    fn notify_once(&mut self, slot: u16, len: usize) -> Result<(), RespondError> {
        let observer = self.observers.get(slot).ok_or(RespondError::Gone)?;
        let (class, binding) = (observer.class, observer.binding.clone());
        let stored = self.seal_reply(class, &binding, Answer::Notification, len)?;
        let observer = self.observers.get_mut(slot).ok_or(RespondError::Gone)?;
        observer.unconfirmed = observer.unconfirmed.saturating_add(1);
        observer.last_id = Some(id_of(&self.scratch));
        let address = observer.address;
        self.reply(address, Reply::Stored(stored));
        Ok(())
    }

    /// Seals the notification in the scratch into an exchange: a new one, or the one whose
    /// notification it replaces.
    fn notify_reliably(
        &mut self,
        slot: u16,
        exchange: u16,
        len: usize,
    ) -> Result<(), RespondError> {
        let binding = self.observers.get(slot).ok_or(RespondError::Gone)?.binding.clone();
        self.seal_exchange(exchange, &binding, Answer::Notification, len)?;
        let observer = self.observers.get_mut(slot).ok_or(RespondError::Gone)?;
        if observer.outstanding == NONE {
            observer.outstanding = exchange;
            observer.unconfirmed = 0;
            observer.confirmed_at = self.now;
            let address = observer.address;
            let taken = self.take_up(address, Purpose::Notification(slot));
            return taken.map(drop).map_err(|_| RespondError::Overflow);
        }
        Ok(())
    }

    /// The slot of an observer that has this name and is not over.
    pub(super) fn observer_slot(&self, id: ObservationId) -> Option<u16> {
        if !OBSERVE {
            return None;
        }
        let observer = self.observers.named(id.slot, id.generation)?;
        observer.ended.is_none().then_some(id.slot)
    }

    /// The observer that registered with this token.
    pub(super) fn find_observer(
        &self,
        address: Address,
        peer: S::Peer,
        token: Token,
    ) -> Option<u16> {
        if !OBSERVE {
            return None;
        }
        if self.observers.len() == 0 {
            return None;
        }
        let relation = self.relation(address, token);
        self.by_relation.find(relation, |slot| {
            let observer = self.observers.get(slot);
            observer.is_some_and(|o| o.relation == relation && o.peer == peer && o.ended.is_none())
        })
    }

    /// The observer whose last non-confirmable notification had this id. A search of all of them,
    /// but resets are rare and 4 bytes long.
    pub(super) fn notified_with(&self, address: Address, id: u16) -> Option<u16> {
        if !OBSERVE {
            return None;
        }
        let mut observers = self.observers.iter();
        let found = observers.find(|(_, observer)| {
            observer.last_id == Some(id) && observer.address == address && observer.ended.is_none()
        });
        found.map(|(slot, _)| slot)
    }

    /// Ends an observation, which is to be reported by `poll`.
    pub(super) fn observation_over(&mut self, slot: u16, reason: EndReason) {
        if !OBSERVE {
            return;
        }
        let Some(observer) = self.observers.get_mut(slot).filter(|o| o.ended.is_none()) else {
            return;
        };
        observer.ended = Some(reason);
        self.detach_observer(slot);
        self.timers.set(Timer::Observer(slot), self.now);
    }

    /// Ends an observation without a report.
    pub(super) fn forget_observer(&mut self, id: ObservationId) {
        if let Some(slot) = self.observer_slot(id) {
            self.detach_observer(slot);
            self.observers.remove(slot);
        }
    }

    /// Takes an observer out of what leads to it, and ends the notification that is out.
    fn detach_observer(&mut self, slot: u16) {
        let Some(observer) = self.observers.get_mut(slot) else { return };
        let outstanding = core::mem::replace(&mut observer.outstanding, NONE);
        let relation = observer.relation;
        self.by_relation.remove(relation, slot);
        let exchange = self.exchanges.get(outstanding);
        if exchange.is_some_and(|e| matches!(e.purpose, Purpose::Notification(of) if of == slot)) {
            self.release(outstanding);
        }
    }

    /// The hash by which an observer is found.
    fn relation(&self, address: Address, token: Token) -> u64 {
        self.secret.message(address, 0, Code::EMPTY, token)
    }

    pub(super) fn observer_due(&mut self, slot: u16) -> Option<Output> {
        if !OBSERVE {
            return None;
        }
        let reason = self.observers.get(slot)?.ended?;
        let observation = ObservationId { slot, generation: self.observers.generation(slot) };
        self.observers.remove(slot);
        Some(Output::Outcome(Outcome::ObservationEnded { observation, reason }))
    }
}

/// How a notification travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In a non-confirmable message.
    Once,
    /// In a confirmable message, as the exchange in this slot.
    Confirmable(u16),
}
