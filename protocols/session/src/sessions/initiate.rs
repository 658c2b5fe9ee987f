//! The initiator's side of handshakes over CoAP (RFC 9528 appendix A.2, RFC 9668).

use super::client::edhoc_error;
use super::server::{bind, seal_error};
use super::step::{MAX_MESSAGE_3, Step};
use super::{Binding, SEPARATE, Session, Sessions};
use crate::config::Workflow;
use crate::edhoc::{
    AwaitMessage2, Completed, ConnectionId, EphemeralKey, Initiator, Message2, Refusal, TRUE,
};
use crate::error::HandshakeError;
use crate::peer::{Entry, Peer, Roster};
use crate::stats::count;
use capmesh_coap::endpoint::{ExchangeId, Failure};
use capmesh_coap::message::{Code, Message};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{SealError, Sealed};
use capmesh_oscore::ProtectError;
use capmesh_wire::Instant;
use core::time::Duration;
use heapless::Vec;
use rand_core::{CryptoRng, RngCore};

/// How many times "try again later" is heard before it counts as a failure.
const MAX_POSTPONED: u8 = 5;

/// The longest that a peer can make this side wait, in seconds.
const MAX_WAIT: u32 = 60;

/// A handshake that this side has begun, or is about to.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) slot: usize,
    since: Instant,
    postponed: u8,
    exchange: Option<ExchangeId>,
    stage: Stage,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "they take turns in one place")]
#[repr(u8)]
enum Stage {
    /// Message_1 is to be sent.
    Start { at: Instant },
    /// Message_1 has been sent. Taken when message_2 comes.
    AwaitMessage2(Option<AwaitMessage2>),
    /// This side has the keys, and the peer must show that it has them too.
    Unconfirmed(Unconfirmed),
    /// The peer is to be told that message_2 was refused.
    Refused { c_r: ConnectionId, refusal: Refusal },
    /// Over; the request that is under way for it is to be cancelled.
    Abandoned,
}

#[derive(Debug)]
struct Unconfirmed {
    session: Session,
    /// What verifies message_4.
    #[cfg(feature = "message-4")]
    completed: Completed,
    c_r: ConnectionId,
    message_3: Vec<u8, MAX_MESSAGE_3, u8>,
    carriage: Carriage,
    until: Instant,
}

/// How message_3 gets to the peer.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Carriage {
    /// With the next request; by itself if there is none until then.
    Ready { alone_at: Instant },
    /// It went with a request; if that is not answered, with another one from then on.
    Sent { again_at: Instant },
    /// The request that it went with was not answered: with the next one.
    Again,
    /// By itself, now.
    Alone,
    /// It went by itself.
    SentAlone,
}

impl Attempt {
    pub(super) const fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Unconfirmed(unconfirmed) => Some(&unconfirmed.session),
            _ => None,
        }
    }

    pub(super) const fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Unconfirmed(unconfirmed) => Some(&mut unconfirmed.session),
            _ => None,
        }
    }

    pub(super) const fn connection_id(&self) -> Option<ConnectionId> {
        match &self.stage {
            Stage::AwaitMessage2(Some(wait)) => Some(wait.connection_id()),
            _ => None,
        }
    }

    const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Abandoned | Stage::Refused { .. })
    }

    /// Gives up without a word. Returns whether the attempt must stay until its request is cancelled.
    pub(super) fn abandon(&mut self) -> bool {
        self.stage = Stage::Abandoned;
        self.exchange.is_some()
    }
}

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    /// Begins a handshake with the peer in a slot, as soon as may be, unless one has begun. Returns
    /// whether there is one.
    pub(super) fn begin(&mut self, slot: usize) -> bool {
        if self.attempt_for(slot).is_some() {
            return true;
        }
        let Some(at) = self.table.get(slot).map(|slot| slot.retry_at.max(self.now)) else {
            return false;
        };
        let Some(free) = self.attempts.iter_mut().find(|attempt| attempt.is_none()) else {
            return false;
        };
        let stage = Stage::Start { at };
        *free = Some(Attempt { slot, since: self.now, postponed: 0, exchange: None, stage });
        true
    }

    pub(super) fn attempt_for(&self, slot: usize) -> Option<usize> {
        self.attempts.iter().position(|attempt| {
            attempt.as_ref().is_some_and(|attempt| attempt.slot == slot && !attempt.is_over())
        })
    }

    /// Seals a request in a session that is not confirmed, with message_3, if it is the turn of one.
    /// `None` if this has nothing to do with a handshake.
    #[inline(never)]
    pub(super) fn seal_combined(
        &mut self,
        slot: usize,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Option<Result<Sealed<Binding>, SealError>> {
        let at = self.attempt_for(slot)?;
        let address = self.table.get(slot)?.address;
        let again_at = self.now + self.config.confirm_retry;
        let is_combined = !SEPARATE || self.config.workflow == Workflow::Combined;
        let Stage::Unconfirmed(unconfirmed) = &mut self.attempts.get_mut(at)?.as_mut()?.stage
        else {
            return None;
        };
        match unconfirmed.carriage {
            Carriage::Ready { .. } | Carriage::Again if is_combined => {}
            _ => return None,
        }
        let session = &mut unconfirmed.session;
        let sealed = session.context.protect_combined(inner, &unconfirmed.message_3, out);
        Some(match sealed {
            Ok((len, oscore)) => {
                unconfirmed.carriage = Carriage::Sent { again_at };
                Ok(Sealed { len, address, binding: bind(slot, session.serial, oscore) })
            }
            // RFC 9668 section 3.2.2 step B: message_3 goes by itself.
            Err(ProtectError::Overflow) if SEPARATE => {
                unconfirmed.carriage = Carriage::Alone;
                Err(SealError::NotReady)
            }
            Err(ProtectError::NotReserved) => Err(SealError::NotReady),
            Err(error) => Err(seal_error(error)),
        })
    }

    /// The peer has shown that it has the keys: its session is the one to use.
    ///
    /// If the peer has begun a handshake at the same time, see `install`.
    #[inline(never)]
    pub(super) fn confirm(&mut self, at: usize) {
        let Some(attempt) = self.end_attempt(at) else { return };
        let Stage::Unconfirmed(Unconfirmed { mut session, .. }) = attempt.stage else { return };
        session.since = self.now;
        count(&mut self.stats.completed);
        let own_id = self.own_id;
        let theirs_wins = self.table.get(attempt.slot).is_some_and(|slot| {
            let theirs = slot.session.as_ref();
            theirs.is_some_and(|theirs| !theirs.by_us && theirs.since >= attempt.since)
                && own_id > slot.id
                && !slot.is_lost
        });
        if theirs_wins {
            self.retire(attempt.slot, session);
            self.wake();
        } else {
            self.replace_session(attempt.slot, session);
        }
    }

    /// Gives up a handshake that this side has begun and that is not far enough to be of use, because
    /// the peer has finished one. One with keys goes on: the peer may have them too.
    pub(super) fn abandon(&mut self, slot: usize) {
        let Some(at) = self.attempt_for(slot) else { return };
        if let Some(place) = self.attempts.get_mut(at) {
            let keep =
                place.as_mut().is_some_and(|mine| mine.session().is_some() || mine.abandon());
            if !keep {
                *place = None;
            }
            self.wake();
        }
    }

    /// Ends a handshake without success. Requests that have no other session to go out in are to fail
    /// (until [`Sessions::clear_failing`]); the next handshake may begin after a while.
    #[inline(never)]
    pub(super) fn fail(&mut self, at: usize, error: HandshakeError) {
        let Some(attempt) = self.end_attempt(at) else { return };
        count(&mut self.stats.failed);
        let at = attempt.slot;
        if let Some(slot) = self.table.get_mut(at) {
            let doublings = u32::from(slot.failures.min(16));
            let shortest = ((self.now + self.config.retry_min).as_micros() - self.now.as_micros())
                .min(u64::MAX >> 16);
            let wait =
                Instant::from_micros(self.now.as_micros().saturating_add(shortest << doublings));
            slot.retry_at = wait.min(self.now + self.config.retry_max);
            slot.failures = slot.failures.saturating_add(1);
            slot.last_failure = Some(error);
            // A session that was said to be lost is better than none.
            slot.is_lost = false;
            slot.is_failing = slot.session.is_none();
            self.has_failing |= slot.is_failing;
        }
        self.wake();
        // For the requests that went out in it, which may want to be reopened.
        if let Stage::Unconfirmed(Unconfirmed { session, .. }) = attempt.stage {
            self.retire(at, session);
        }
    }

    /// Ends a handshake that the peer did not go on with. It may have lost its half of it, so one such
    /// failure in a row is overlooked: the requests go on waiting, and the next handshake begins soon.
    pub(super) fn fail_unconfirmed(&mut self, at: usize, error: HandshakeError) {
        let Some(slot) = self.attempts.get(at).and_then(Option::as_ref).map(|mine| mine.slot)
        else {
            return;
        };
        let was_lost = self.table.get(slot).is_some_and(|slot| slot.is_lost);
        self.fail(at, error);
        // An error message is about what was sent, not about what was lost.
        let is_final = matches!(error, HandshakeError::Error(_));
        if let Some(known) = self.table.get_mut(slot)
            && known.failures == 1
            && !is_final
        {
            known.is_failing = false;
            known.is_lost = was_lost;
            self.begin(slot);
        }
    }

    /// Takes a handshake out. If a request is under way for it, that is to be cancelled.
    fn end_attempt(&mut self, at: usize) -> Option<Attempt> {
        let place = self.attempts.get_mut(at)?;
        let attempt = place.take()?;
        if attempt.exchange.is_some() {
            let Attempt { slot, since, postponed, exchange, .. } = attempt;
            *place = Some(Attempt { slot, since, postponed, exchange, stage: Stage::Abandoned });
        }
        Some(attempt)
    }

    /// Says that the requests that waited for handshakes which failed have been told.
    pub(crate) fn clear_failing(&mut self) {
        if !core::mem::take(&mut self.has_failing) {
            return;
        }
        for at in 0..N {
            if let Some(slot) = self.table.get_mut(at) {
                slot.is_failing = false;
            }
        }
    }

    /// What is to be done now for handshakes. The work is at most one Diffie-Hellman operation.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.expire_retired();
        self.expire_half_open();
        (0..H).find_map(|at| self.step_of(at))
    }

    #[inline(never)]
    fn step_of(&mut self, at: usize) -> Option<Step> {
        let attempt = self.attempts.get_mut(at)?.as_mut()?;
        match &mut attempt.stage {
            Stage::Abandoned => {
                let exchange = attempt.exchange;
                self.forget_attempt(at);
                exchange.map(Step::Cancel)
            }
            Stage::Start { at: start } if *start <= self.now => self.step_message_1(at),
            Stage::Unconfirmed(unconfirmed) if unconfirmed.until <= self.now => {
                self.fail(at, HandshakeError::Unconfirmed);
                None
            }
            Stage::Unconfirmed(unconfirmed) => match unconfirmed.carriage {
                Carriage::Sent { again_at } if again_at <= self.now => {
                    unconfirmed.carriage = Carriage::Again;
                    self.wake();
                    None
                }
                Carriage::Ready { alone_at } if SEPARATE && alone_at <= self.now => {
                    self.step_message_3(at)
                }
                Carriage::Alone if SEPARATE => self.step_message_3(at),
                _ => None,
            },
            Stage::Refused { c_r, refusal } if attempt.exchange.is_none() => {
                let (c_r, refusal) = (*c_r, *refusal);
                let mut error = [0; 40];
                let len = refusal.error_message(&mut error).unwrap_or_default();
                self.step_send(at, c_r, error.get(..len).unwrap_or_default())
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn step_message_1(&mut self, at: usize) -> Option<Step> {
        let Some(c_i) = self.fresh_id(None) else {
            self.forget_attempt(at);
            return None;
        };
        let ephemeral = EphemeralKey::generate(&mut self.rng);
        let mut message_1 = [0; 48];
        let (wait, len) = Initiator::start(ephemeral, c_i, &mut message_1).ok()?;
        let attempt = self.attempts.get_mut(at)?.as_mut()?;
        attempt.stage = Stage::AwaitMessage2(Some(wait));
        let to = self.table.get(attempt.slot)?.address;
        let mut payload = Vec::from_slice(&[TRUE]).ok()?;
        payload.extend_from_slice(message_1.get(..len)?).ok()?;
        count(&mut self.stats.begun);
        Some(Step::Send { attempt: at, to, payload })
    }

    fn step_message_3(&mut self, at: usize) -> Option<Step> {
        let attempt = self.attempts.get_mut(at)?.as_mut()?;
        let Stage::Unconfirmed(unconfirmed) = &mut attempt.stage else { return None };
        unconfirmed.carriage = Carriage::SentAlone;
        let (c_r, message_3) = (unconfirmed.c_r, unconfirmed.message_3.clone());
        self.step_send(at, c_r, &message_3)
    }

    /// A message behind C_R.
    #[inline(never)]
    fn step_send(&mut self, at: usize, c_r: ConnectionId, message: &[u8]) -> Option<Step> {
        let slot = self.attempts.get(at)?.as_ref()?.slot;
        let to = self.table.get(slot)?.address;
        let mut head = [0; 1 + ConnectionId::MAX];
        let len = c_r.encode(&mut head);
        let mut payload = Vec::from_slice(head.get(..len)?).ok()?;
        payload.extend_from_slice(message).ok()?;
        Some(Step::Send { attempt: at, to, payload })
    }

    /// When there is a step to do next.
    pub(crate) fn next_step_at(&self) -> Option<Instant> {
        let due = |attempt: &Attempt| match &attempt.stage {
            Stage::Start { at } => Some(*at),
            Stage::AwaitMessage2(_) => None,
            Stage::Unconfirmed(unconfirmed) => Some(match unconfirmed.carriage {
                Carriage::Ready { .. } if !SEPARATE => unconfirmed.until,
                Carriage::Ready { alone_at: at } | Carriage::Sent { again_at: at } => {
                    at.min(unconfirmed.until)
                }
                Carriage::Alone => Instant::ZERO,
                Carriage::Again | Carriage::SentAlone => unconfirmed.until,
            }),
            Stage::Refused { .. } => attempt.exchange.is_none().then_some(Instant::ZERO),
            Stage::Abandoned => Some(Instant::ZERO),
        };
        self.attempts.iter().flatten().filter_map(due).min()
    }

    /// Says which request carries the message of the last [`Step::Send`]; `None` if it could not be
    /// sent.
    pub(crate) fn step_sent(&mut self, at: usize, exchange: Option<ExchangeId>) {
        let Some(attempt) = self.attempts.get_mut(at).and_then(Option::as_mut) else { return };
        attempt.exchange = exchange;
        if exchange.is_some() {
            return;
        }
        let wait = Duration::from_secs(1);
        match &mut attempt.stage {
            Stage::Refused { .. } => self.forget_attempt(at),
            Stage::Unconfirmed(unconfirmed) => {
                unconfirmed.carriage = Carriage::Ready { alone_at: self.now + wait };
            }
            _ => self.postpone(at, wait),
        }
    }

    /// With whom a handshake is.
    pub(crate) fn peer_of_attempt(&self, at: usize) -> Option<Peer> {
        let attempt = self.attempts.get(at)?.as_ref()?;
        Some(Peer::Member(self.table.get(attempt.slot)?.member()))
    }

    /// The handshake that a request of the wrapper's belongs to.
    pub(crate) fn attempt_with(&self, exchange: ExchangeId) -> Option<usize> {
        self.attempts.iter().position(|attempt| {
            attempt.as_ref().is_some_and(|attempt| attempt.exchange == Some(exchange))
        })
    }

    /// A response to a request of the wrapper's has come. The work is at most three Diffie-Hellman
    /// operations.
    #[inline(never)]
    pub(crate) fn step_answered(&mut self, at: usize, message: Message<'_>) {
        let Some(attempt) = self.attempts.get_mut(at).and_then(Option::as_mut) else { return };
        attempt.exchange = None;
        let is_success = message.code() == Code::CHANGED;
        match &mut attempt.stage {
            Stage::AwaitMessage2(wait) if is_success => {
                if let Some(wait) = wait.take() {
                    self.receive_message_2(at, wait, message.payload());
                }
            }
            Stage::Unconfirmed(unconfirmed) if SEPARATE => {
                let verified = match message.payload() {
                    [] => Ok(()),
                    // Without it there is nothing to tell this from an answer without message_4.
                    #[cfg(not(feature = "message-4"))]
                    _ => Ok(()),
                    #[cfg(feature = "message-4")]
                    message_4 => unconfirmed.completed.verify_message_4(message_4),
                };
                match verified {
                    _ if !is_success => {
                        self.fail_unconfirmed(at, refused_by_peer(&message));
                    }
                    Ok(()) => self.confirm(at),
                    Err(refusal) => self.fail(at, HandshakeError::Refused(refusal)),
                }
            }
            Stage::AwaitMessage2(_) if message.code() == Code::SERVICE_UNAVAILABLE => {
                let wait = message.option_uint(OptionNumber::MAX_AGE).unwrap_or(MAX_WAIT);
                let jitter = self.rng.next_u32() & 0xf_ffff;
                let wait = Duration::from_secs(wait.min(MAX_WAIT).into());
                self.postpone(at, wait + Duration::from_micros(jitter.into()));
            }
            Stage::AwaitMessage2(_) => self.fail(at, refused_by_peer(&message)),
            _ => {
                self.forget_attempt(at);
            }
        }
    }

    /// A request of the wrapper's was not answered.
    #[inline(never)]
    pub(crate) fn step_unanswered(&mut self, at: usize, failure: Failure) {
        let Some(attempt) = self.attempts.get_mut(at).and_then(Option::as_mut) else { return };
        attempt.exchange = None;
        if attempt.is_over() {
            self.forget_attempt(at);
        } else {
            self.fail(at, HandshakeError::Unanswered(failure));
        }
    }

    #[inline(never)]
    fn receive_message_2(&mut self, at: usize, wait: AwaitMessage2, bytes: &[u8]) {
        let received = wait.receive(bytes);
        let message_2 = match &received {
            Ok(message_2) => message_2,
            Err(refusal) => return self.fail(at, HandshakeError::Refused(*refusal)),
        };
        let c_r = message_2.connection_id();
        let mut buf = [0; MAX_MESSAGE_3];
        let verified = self.expect(at, message_2).and_then(|entry| {
            message_2
                .verify(&entry.credential, &self.identity, self.config.transfer, &mut buf)
                .map_err(HandshakeError::Refused)
        });
        match verified {
            Ok((completed, len)) => {
                let message_3 = buf.get(..len).unwrap_or_default();
                self.keep_unconfirmed(at, completed, message_3);
            }
            Err(error) => {
                let refusal = match error {
                    HandshakeError::Refused(refusal) => refusal,
                    _ => Refusal::NotAuthorised,
                };
                self.refuse_message_2(at, c_r, refusal, error);
            }
        }
    }

    /// What the roster says of the responder, if it is the one that this side wants.
    #[inline(never)]
    fn expect(&self, at: usize, message_2: &Message2) -> Result<Entry, HandshakeError> {
        let entry = message_2
            .credential_id()
            .and_then(|id| self.look_up(&id))
            .map_err(HandshakeError::Refused)?;
        if !self.is_authorised(&entry) {
            return Err(HandshakeError::Refused(Refusal::NotAuthorised));
        }
        let slot = self.attempts.get(at).and_then(Option::as_ref).map(|mine| mine.slot);
        let expected = slot.and_then(|slot| self.table.get(slot)).map(|slot| slot.id);
        if expected == Some(entry.id) { Ok(entry) } else { Err(HandshakeError::WrongPeer) }
    }

    #[cfg_attr(
        not(feature = "message-4"),
        expect(clippy::needless_pass_by_value, reason = "it is kept for message_4")
    )]
    #[inline(never)]
    fn keep_unconfirmed(&mut self, at: usize, completed: Completed, message_3: &[u8]) {
        let serial = self.next_serial();
        let keys = completed.oscore_keys();
        let session = Session::derive(&keys, &self.config, serial, self.now, true);
        let (Some(session), Ok(message_3)) = (session, Vec::from_slice(message_3)) else {
            return self.fail(at, HandshakeError::Refused(Refusal::ConnectionId));
        };
        let carriage = match self.config.workflow {
            Workflow::Separate if SEPARATE => Carriage::Alone,
            _ => Carriage::Ready { alone_at: self.now + self.config.confirm_retry },
        };
        let until = self.now + self.config.confirm_timeout;
        let c_r = keys.sender_id;
        let Some(attempt) = self.attempts.get_mut(at).and_then(Option::as_mut) else { return };
        attempt.stage = Stage::Unconfirmed(Unconfirmed {
            session,
            #[cfg(feature = "message-4")]
            completed,
            c_r,
            message_3,
            carriage,
            until,
        });
        self.readiness = self.readiness.wrapping_add(1);
        if let Some(slot) = self.table.get_mut(attempt.slot) {
            // Message_1 went there, and message_2 proves that it arrived.
            slot.is_address_verified = true;
            slot.used = self.now;
        }
    }

    /// Fails, and tells the peer (RFC 9528 section 5.3.3).
    #[inline(never)]
    fn refuse_message_2(
        &mut self,
        at: usize,
        c_r: ConnectionId,
        refusal: Refusal,
        error: HandshakeError,
    ) {
        let Some(attempt) = self.attempts.get(at).and_then(Option::as_ref) else { return };
        let (slot, since) = (attempt.slot, attempt.since);
        self.fail(at, error);
        if let Some(place) = self.attempts.get_mut(at) {
            let stage = Stage::Refused { c_r, refusal };
            *place = Some(Attempt { slot, since, postponed: 0, exchange: None, stage });
        }
    }

    /// Goes back to the start, later.
    fn postpone(&mut self, at: usize, wait: Duration) {
        let Some(attempt) = self.attempts.get_mut(at).and_then(Option::as_mut) else { return };
        attempt.postponed += 1;
        if attempt.postponed > MAX_POSTPONED {
            let error = HandshakeError::Code(Code::SERVICE_UNAVAILABLE);
            return self.fail(at, error);
        }
        attempt.stage = Stage::Start { at: self.now + wait };
    }

    /// Makes room for another handshake, which requests may be waiting for.
    fn forget_attempt(&mut self, at: usize) {
        if let Some(place) = self.attempts.get_mut(at) {
            *place = None;
        }
        self.wake();
    }
}

fn refused_by_peer(message: &Message<'_>) -> HandshakeError {
    edhoc_error(message).map_or(HandshakeError::Code(message.code()), HandshakeError::Error)
}
