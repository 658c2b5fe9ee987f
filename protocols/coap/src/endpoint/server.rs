//! The role that answers: requests, their responses, and what may be said to a stranger.

use super::dedup::{Class, Progress, Stored};
use super::exchange::Purpose;
use super::hash::{Address, micros};
use super::outbox::Reply;
use super::reliability::after;
use super::stats::count;
use super::timers::Timer;
use super::types::{EndReason, Event, ObservationId, RespondError, Responder, Via};
use super::{Build, Config, Endpoint, GROUPS, OBSERVE};
use crate::message::{Code, Kind, Message, MessageWriter, Token};
use crate::option::OptionNumber;
use crate::security::{Answer, Opening, Security};
use capmesh_wire::Instant;

/// A request that the application has and has not answered.
#[derive(Debug)]
pub(super) struct Unanswered<P, B> {
    pub(super) peer: P,
    pub(super) binding: B,
    pub(super) address: Address,
    pub(super) token: Token,
    /// The request in the memory for duplicates.
    key: u64,
    pub(super) class: Class,
    id: u16,
    kind: Kind,
    via: Via,
    acknowledged: bool,
    /// Classes of responses that are not wanted, as bits of the No-Response option.
    unwanted: u32,
    /// Bytes that may be sent in answer.
    budget: u32,
    pub(super) wants_observation: bool,
    pub(super) observation: Option<ObservationId>,
    /// When the application's time is up.
    expires: Instant,
}

/// Bytes that may go to any address in answer to a request, however short that is: too few to be
/// worth an attacker's trouble (RFC 9175 section 2.4).
const HARMLESS: u32 = 136;

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
    #[inline(never)]
    pub(super) fn on_request<'b>(
        &mut self,
        from: Address,
        via: Via,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, S::Peer>> {
        let key = self.message_key(from, outer);
        if let Some(progress) = self.recent.find(key, self.now) {
            count(&mut self.stats.duplicates);
            self.on_duplicate(from, outer.id(), key, progress);
            return None;
        }
        // Before it is opened: a request that cannot be taken costs nothing, and comes again.
        if self.unanswered.next_free().is_none() {
            count(&mut self.stats.no_room);
            return None;
        }
        match self.security.open_request(self.now, from.socket, outer, scratch) {
            Opening::Drop => {
                count(&mut self.stats.not_authentic);
                None
            }
            Opening::Answer { code, max_age, content_format, payload } => {
                self.answer_for_security(from, via, outer, None, &mut |writer| {
                    writer.set_code(code);
                    if let Some(format) = content_format {
                        writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
                    }
                    if let Some(age) = max_age {
                        writer.option_uint(OptionNumber::MAX_AGE, age)?;
                    }
                    writer.payload(payload)?;
                    Ok(())
                });
                None
            }
            Opening::Challenge { binding, echo } => {
                self.answer_for_security(from, via, outer, Some(binding), &mut |writer| {
                    writer.set_code(Code::UNAUTHORIZED);
                    writer.option(OptionNumber::ECHO, echo)?;
                    Ok(())
                });
                None
            }
            Opening::Request { peer, binding, inner } => {
                let responder = self.take_request(from, via, outer, key, (peer, binding, inner))?;
                Some(Event::Request { responder, peer, message: inner, via })
            }
        }
    }

    /// Keeps what the response to a request will need.
    fn take_request(
        &mut self,
        from: Address,
        via: Via,
        outer: Message<'_>,
        key: u64,
        (peer, binding, inner): (S::Peer, S::Binding, Message<'_>),
    ) -> Option<Responder> {
        let class = self.class_of(peer, from);
        let wants_observation = self.observe_option(from, peer, inner);
        let expires = self.now + self.config.answer_timeout;
        let (slot, generation) = self.unanswered.insert(Unanswered {
            peer,
            binding,
            address: from,
            token: outer.token(),
            key,
            class,
            id: outer.id(),
            kind: outer.kind(),
            via,
            acknowledged: false,
            unwanted: inner.option_uint(OptionNumber::NO_RESPONSE).unwrap_or(0),
            budget: match class {
                Class::Verified => u32::MAX,
                Class::Anybody => allowance(&self.config, outer),
            },
            wants_observation: wants_observation && !via.is_group(),
            observation: None,
            expires,
        })?;
        let (progress, due) = match outer.kind() {
            Kind::Confirmable => {
                (Progress::Unanswered(slot), expires.min(self.now + self.config.processing_delay))
            }
            _ => (Progress::Silent, expires),
        };
        self.remember(class, key, progress, outer.kind());
        self.timers.set(Timer::Unanswered(slot), due);
        Some(Responder { slot, generation })
    }

    /// Whether a request asks for an observation. One that ends an observation, or takes its token
    /// for something else, ends it.
    fn observe_option(&mut self, from: Address, peer: S::Peer, request: Message<'_>) -> bool {
        if !OBSERVE {
            return false;
        }
        let observe = request
            .option_uint(OptionNumber::OBSERVE)
            .filter(|_| matches!(request.code(), Code::GET | Code::FETCH));
        if observe == Some(0) {
            return true;
        }
        if let Some(observer) = self.find_observer(from, peer, request.token()) {
            let asked = observe == Some(1);
            let reason = if asked { EndReason::Deregistered } else { EndReason::TokenReused };
            self.observation_over(observer, reason);
        }
        false
    }

    /// A request comes again: so does what was said to it.
    fn on_duplicate(&mut self, from: Address, id: u16, key: u64, progress: Progress) {
        match progress {
            Progress::Silent => {}
            Progress::Acknowledged => self.reply(from, Reply::Empty(Kind::Acknowledgement, id)),
            Progress::Replied(stored) if self.replies.get(stored).is_some() => {
                self.reply(from, Reply::Stored(stored));
            }
            Progress::Replied(_) => count(&mut self.stats.replies_lost),
            Progress::Unanswered(slot) => {
                if self.unanswered.get(slot).is_some_and(|unanswered| unanswered.key == key) {
                    self.acknowledge(slot);
                }
            }
        }
    }

    /// Sends an empty acknowledgement; the response becomes a separate one.
    fn acknowledge(&mut self, slot: u16) {
        let Some(unanswered) = self.unanswered.get_mut(slot) else { return };
        if unanswered.kind != Kind::Confirmable || unanswered.acknowledged {
            return;
        }
        unanswered.acknowledged = true;
        let (address, id, key) = (unanswered.address, unanswered.id, unanswered.key);
        self.timers.set(Timer::Unanswered(slot), unanswered.expires.max(self.now));
        self.recent.update(key, Progress::Acknowledged);
        self.reply(address, Reply::Empty(Kind::Acknowledgement, id));
    }

    /// Deals with an unanswered request whose timer has run out.
    pub(super) fn unanswered_due(&mut self, slot: u16) {
        let Some(unanswered) = self.unanswered.get(slot) else { return };
        let expired = unanswered.expires <= self.now;
        self.acknowledge(slot);
        if expired {
            count(&mut self.stats.unanswered);
            self.give_up(slot);
        }
    }

    fn give_up(&mut self, slot: u16) {
        self.timers.clear(Timer::Unanswered(slot));
        self.unanswered.remove(slot);
    }

    pub(super) fn leave_unanswered(&mut self, to: Responder) {
        if self.unanswered.named(to.slot, to.generation).is_some() {
            self.acknowledge(to.slot);
            self.give_up(to.slot);
        }
    }

    pub(super) fn reject_request(&mut self, to: Responder) {
        let Some(unanswered) = self.unanswered.named(to.slot, to.generation) else { return };
        if unanswered.via == Via::Unicast && !unanswered.acknowledged {
            let (address, id) = (unanswered.address, unanswered.id);
            self.recent.update(unanswered.key, Progress::Silent);
            self.reply(address, Reply::Empty(Kind::Reset, id));
        }
        self.give_up(to.slot);
    }

    pub(super) fn lift_budget(&mut self, to: Responder) {
        if self.unanswered.named(to.slot, to.generation).is_some()
            && let Some(unanswered) = self.unanswered.get_mut(to.slot)
        {
            unanswered.budget = u32::MAX;
        }
    }

    pub(super) fn send_response(
        &mut self,
        to: Responder,
        code: Code,
        build: Build<'_>,
    ) -> Result<(), RespondError> {
        let unanswered = self.unanswered.named(to.slot, to.generation).ok_or(RespondError::Gone)?;
        if !code.is_response() {
            return Err(RespondError::Code);
        }
        if OBSERVE
            && let Some(observation) = unanswered.observation
            && !(code.is_success() && self.observer_slot(observation).is_some())
        {
            self.forget_observer(observation);
            if let Some(unanswered) = self.unanswered.get_mut(to.slot) {
                unanswered.observation = None;
            }
        }
        let unanswered = self.unanswered.get(to.slot).ok_or(RespondError::Gone)?;
        if unanswered.unwanted >> (code.class() - 1) & 1 == 1 {
            self.leave_unanswered(to);
            return Ok(());
        }
        let (kind, via, is_acknowledged) =
            (unanswered.kind, unanswered.via, unanswered.acknowledged);
        let way = self.way_of(kind, via, is_acknowledged);
        let len = self.write_response(to.slot, way, code, build)?;
        let outcome = match way {
            Way::Piggybacked | Way::NonConfirmable => self.send_reply(to.slot, way, len),
            Way::Separate | Way::AtLeisure => self.send_separately(to.slot, way, len),
        };
        match outcome {
            Ok(()) => self.give_up(to.slot),
            Err(RespondError::Security(_)) => {
                count(&mut self.stats.not_sealed);
                self.leave_unanswered(to);
            }
            Err(_) => {}
        }
        outcome
    }

    /// How the response to a request travels.
    fn way_of(&mut self, kind: Kind, via: Via, is_acknowledged: bool) -> Way {
        match (kind, via) {
            (_, via) if via.is_group() => Way::AtLeisure,
            (Kind::Confirmable, _) if !is_acknowledged => Way::Piggybacked,
            (Kind::Confirmable, _) if self.next_exchange().is_some() => Way::Separate,
            _ => Way::NonConfirmable,
        }
    }

    /// Writes the inner response to the scratch and returns its length.
    fn write_response(
        &mut self,
        slot: u16,
        way: Way,
        code: Code,
        build: Build<'_>,
    ) -> Result<usize, RespondError> {
        let address = self.unanswered.get(slot).ok_or(RespondError::Gone)?.address;
        let own_id = match way {
            Way::Piggybacked => 0,
            _ => self.next_id(address),
        };
        let unanswered = self.unanswered.get(slot).ok_or(RespondError::Gone)?;
        let (kind, id) = match way {
            Way::Piggybacked => (Kind::Acknowledgement, unanswered.id),
            Way::Separate => (Kind::Confirmable, own_id),
            Way::NonConfirmable | Way::AtLeisure => (Kind::NonConfirmable, own_id),
        };
        let mut writer = MessageWriter::new(&mut self.scratch, kind, code, id, unanswered.token)?;
        if OBSERVE
            && let Some(id) = unanswered.observation.filter(|_| code.is_success())
            && let Some(observer) = self.observers.get_mut(id.slot)
        {
            writer.option_uint(OptionNumber::OBSERVE, observer.next_sequence())?;
        }
        build(&mut writer)?;
        let len = writer.finish();
        if u32::try_from(len + S::OVERHEAD).is_ok_and(|len| len > unanswered.budget) {
            count(&mut self.stats.withheld);
            return Err(RespondError::Unverified);
        }
        Ok(len)
    }

    /// Sends the response in the scratch once.
    fn send_reply(&mut self, slot: u16, way: Way, len: usize) -> Result<(), RespondError> {
        let unanswered = self.unanswered.get(slot).ok_or(RespondError::Gone)?;
        let (class, key, address) = (unanswered.class, unanswered.key, unanswered.address);
        let binding = unanswered.binding.clone();
        let stored = self.seal_reply(class, &binding, Answer::First, len)?;
        if way == Way::Piggybacked {
            self.recent.update(key, Progress::Replied(stored));
        }
        self.reply(address, Reply::Stored(stored));
        Ok(())
    }

    /// Sends the response in the scratch as an exchange, until it is acknowledged, or once and later.
    fn send_separately(&mut self, slot: u16, way: Way, len: usize) -> Result<(), RespondError> {
        let unanswered = self.unanswered.get(slot).ok_or(RespondError::Gone)?;
        let (address, budget) = (unanswered.address, unanswered.budget);
        let purpose = match way {
            Way::AtLeisure if GROUPS => Purpose::GroupResponse,
            _ => Purpose::Response(unanswered.observation),
        };
        let binding = unanswered.binding.clone();
        let Some(free) = self.next_exchange() else {
            count(&mut self.stats.no_room);
            return Ok(());
        };
        self.seal_exchange(free, &binding, Answer::First, len)?;
        let Ok(exchange) = self.take_up(address, purpose) else { return Ok(()) };
        if let Some(exchange) = self.exchanges.get_mut(exchange.slot) {
            exchange.budget = budget;
        }
        if GROUPS && way == Way::AtLeisure {
            let delay = self.secret.random_below(micros(self.config.leisure));
            self.timers.set(Timer::Exchange(exchange.slot), after(self.now, delay));
        }
        Ok(())
    }

    /// Seals the response of this length in the scratch into the memory for replies.
    pub(super) fn seal_reply(
        &mut self,
        class: Class,
        binding: &S::Binding,
        role: Answer,
        len: usize,
    ) -> Result<Stored, RespondError> {
        let inner = written(&self.scratch, len)?;
        let longest = (len + S::OVERHEAD).min(MTU);
        let room = self.replies.room(class, longest).ok_or(RespondError::Overflow)?;
        let sealed = self.security.seal_response(self.now, binding, role, inner, room);
        Ok(self.replies.commit(class, sealed.map_err(RespondError::Security)?))
    }

    /// Seals the response of this length in the scratch as the message of an exchange.
    pub(super) fn seal_exchange(
        &mut self,
        slot: u16,
        binding: &S::Binding,
        role: Answer,
        len: usize,
    ) -> Result<(), RespondError> {
        let inner = written(&self.scratch, len)?;
        let longest = (len + S::OVERHEAD).min(MTU);
        let room = self.messages.room(slot, longest).ok_or(RespondError::Overflow)?;
        let sealed = self.security.seal_response(self.now, binding, role, inner, room);
        self.messages.shorten(slot, sealed.map_err(RespondError::Security)?);
        Ok(())
    }

    /// Answers a request in the name of the security layer: `build` starts from a writer of code
    /// 5.00 and changes that as well. Sealed if there is a binding.
    fn answer_for_security(
        &mut self,
        from: Address,
        via: Via,
        request: Message<'_>,
        binding: Option<S::Binding>,
        build: Build<'_>,
    ) {
        if via.is_group() {
            return;
        }
        let (kind, id) = match request.kind() {
            Kind::Confirmable => (Kind::Acknowledgement, request.id()),
            _ => (Kind::NonConfirmable, self.next_id(from)),
        };
        let sent = self.seal_answer(binding, request, (kind, id), build);
        let Some(stored) = sent else { return count(&mut self.stats.not_sealed) };
        let progress = match request.kind() {
            Kind::Confirmable => Progress::Replied(stored),
            _ => Progress::Silent,
        };
        let key = self.message_key(from, request);
        self.remember(Class::Anybody, key, progress, request.kind());
        self.reply(from, Reply::Stored(stored));
    }

    fn seal_answer(
        &mut self,
        binding: Option<S::Binding>,
        request: Message<'_>,
        (kind, id): (Kind, u16),
        build: Build<'_>,
    ) -> Option<Stored> {
        let code = Code::INTERNAL_SERVER_ERROR;
        let mut writer =
            MessageWriter::new(&mut self.scratch, kind, code, id, request.token()).ok()?;
        build(&mut writer).ok()?;
        let len = writer.finish();
        let longest = (len + S::OVERHEAD).min(MTU);
        if u32::try_from(longest).is_ok_and(|longest| longest > allowance(&self.config, request)) {
            return None;
        }
        if let Some(binding) = binding {
            let role = Answer::Notification;
            return self.seal_reply(Class::Anybody, &binding, role, len).ok();
        }
        let room = self.replies.room(Class::Anybody, len)?;
        room.copy_from_slice(self.scratch.get(..len)?);
        Some(self.replies.commit(Class::Anybody, len))
    }

    /// What tells a message from every other one.
    pub(super) fn message_key(&self, from: Address, message: Message<'_>) -> u64 {
        self.secret.message(from, message.id(), message.code(), message.token())
    }

    pub(super) fn class_of(&self, peer: S::Peer, address: Address) -> Class {
        if self.security.is_address_verified(peer, address.socket) {
            Class::Verified
        } else {
            Class::Anybody
        }
    }

    /// Remembers a message for as long as it can have duplicates.
    pub(super) fn remember(&mut self, class: Class, key: u64, progress: Progress, kind: Kind) {
        let lifetime = match kind {
            Kind::Confirmable => self.exchange_lifetime,
            _ => self.non_lifetime,
        };
        let expires = Instant::from_micros(self.now.as_micros().saturating_add(lifetime));
        if self.recent.insert(class, key, progress, self.now, expires) {
            count(&mut self.stats.forgotten_early);
        }
    }
}

/// How a response travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In the acknowledgement.
    Piggybacked,
    /// In a confirmable message of its own.
    Separate,
    /// In a non-confirmable message of its own.
    NonConfirmable,
    /// In a non-confirmable message after a random time, because a group was asked.
    AtLeisure,
}

/// Bytes that may be sent in answer to a request from an address that is not verified.
fn allowance(config: &Config, request: Message<'_>) -> u32 {
    match config.amplification {
        0 => u32::MAX,
        factor => {
            let len = u32::try_from(request.as_bytes().len()).unwrap_or(u32::MAX);
            len.saturating_mul(u32::from(factor)).max(HARMLESS)
        }
    }
}

/// The message of this length in the scratch.
fn written(scratch: &[u8], len: usize) -> Result<Message<'_>, RespondError> {
    let written = scratch.get(..len).ok_or(RespondError::Overflow)?;
    Message::parse(written).map_err(|_| RespondError::Overflow)
}
