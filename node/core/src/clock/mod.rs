//! Knowing the time: site time, as the gateway serves it.
//!
//! A node asks a gateway for the time (FETCH of [`paths::TIME`]) and learns an offset to its own clock
//! and how far off that may be, which grows with the drift between two answers. It asks a few times at
//! the start, and then now and then; of two answers that agree the one that is surer by now counts, and
//! if they do not agree the newer one does: the gateway knows.
//!
//! Nothing that decides correctness depends on it: without an answer a node goes on, and says with its
//! samples that it does not know the time.

use capmesh_coap::Code;
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability};
use capmesh_coap::message::{Message, MessageWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::clock::{Clock, TimeReply, TimeRequest};
use capmesh_wire::{Instant, paths};
use core::time::Duration;

/// Content-Format of requests and replies: application/cbor.
const CBOR: u16 = 60;

/// An encoded request: an array of one number.
const REQUEST: usize = 10;

/// How often to ask for the time.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many answers to collect at the start, and how long to wait between them.
    pub burst: u8,
    /// See `burst`.
    pub soon: Duration,
    /// How long to wait between two answers from then on, and between attempts that fail at most.
    pub later: Duration,
    /// How much this machine's clock may drift, in parts per million.
    pub drift_ppm: u16,
}

impl Default for Config {
    /// Four answers 2 s apart, then one each 8 minutes: with a crystal's drift of 50 ppm the
    /// uncertainty grows by 26 ms meanwhile.
    fn default() -> Self {
        Self {
            burst: 4,
            soon: Duration::from_secs(2),
            later: Duration::from_secs(512),
            drift_ppm: capmesh_wire::clock::DRIFT_PPM,
        }
    }
}

/// What a node knows of the time, and how it learns it. See the [module](self).
#[derive(Debug)]
pub struct Timekeeper {
    config: Config,
    clock: Option<Clock>,
    /// The request that is out, and when it was made.
    asked: Option<(ExchangeId, Instant)>,
    next: Instant,
    /// Answers since the start, as far as they matter.
    answers: u8,
    /// Attempts since the last answer.
    failures: u8,
    /// Which gateway to ask.
    turn: usize,
    /// Times that an answer did not agree with the one before it.
    steps: u32,
}

impl Timekeeper {
    /// One that knows nothing and asks as soon as it can.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            clock: None,
            asked: None,
            next: Instant::ZERO,
            answers: 0,
            failures: 0,
            turn: 0,
            steps: 0,
        }
    }

    /// What is known of the time; `None` before the first answer.
    #[must_use]
    pub const fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// How often an answer contradicted the one before it: this clock drifts more than it should, or
    /// the gateway's was set.
    #[must_use]
    pub const fn steps(&self) -> u32 {
        self.steps
    }

    /// Asks if it is time to. `gateway` gives the first gateway for 0 and so on, round and round; `None`
    /// if there is none.
    pub fn poll<P>(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<P>,
        gateway: &dyn Fn(usize) -> Option<P>,
    ) {
        if self.asked.is_some() || self.next > now {
            return;
        }
        let Some(gateway) = gateway(self.turn) else { return self.fail(now) };
        let mut buf = [0; REQUEST];
        let len = encode(&TimeRequest { sent: now.as_micros() }, &mut buf).unwrap_or(0);
        let payload = buf.get(..len).unwrap_or_default();
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.path(paths::TIME)?;
            writer.option_uint(OptionNumber::CONTENT_FORMAT, CBOR.into())?;
            writer.payload(payload)?;
            Ok(())
        };
        // Retransmitted or kept waiting for a session it has a longer way, and says so by itself.
        match out.request(now, gateway, Reliability::Confirmable, Code::FETCH, &mut build) {
            Ok(exchange) => self.asked = Some((exchange, now)),
            Err(_) => self.fail(now),
        }
    }

    /// Takes a response if it answers a request for the time. Says whether it did.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        let Some((_, sent)) = self.asked.take_if(|(asked, _)| *asked == exchange) else {
            return false;
        };
        let reply = decode::<TimeReply>(message.payload()).ok();
        let reply = reply.filter(|r| message.code().is_success() && r.sent == sent.as_micros());
        match reply.and_then(|reply| reply.clock(now)) {
            Some(clock) => self.learn(now, Clock { drift_ppm: self.config.drift_ppm, ..clock }),
            None => self.fail(now),
        }
        true
    }

    /// Takes an outcome if it ends a request for the time. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        if self.asked.take_if(|(asked, _)| asked == exchange).is_none() {
            return false;
        }
        self.fail(now);
        true
    }

    /// When to poll again. `None` while an answer is awaited.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.next)
    }

    fn learn(&mut self, now: Instant, heard: Clock) {
        self.failures = 0;
        self.answers = self.answers.saturating_add(1);
        let is_early = self.answers < self.config.burst;
        self.next = now + if is_early { self.config.soon } else { self.config.later };
        let Some(known) = self.clock else {
            self.clock = Some(heard);
            return;
        };
        let (was, is) = (known.at(now), heard.at(now));
        let error = |time: Option<u32>| u64::from(time.unwrap_or(u32::MAX));
        let (was_off, is_off) = (error(was.uncertainty), error(is.uncertainty));
        let agree = was.micros.abs_diff(is.micros) <= was_off.saturating_add(is_off);
        if !agree {
            self.steps = self.steps.saturating_add(1);
        }
        if !agree || is_off <= was_off {
            self.clock = Some(heard);
        }
    }

    /// Tries the next gateway, after a wait that doubles.
    fn fail(&mut self, now: Instant) {
        let wait = self.config.soon.saturating_mul(1 << self.failures.min(16));
        self.next = now + wait.min(self.config.later);
        self.failures = self.failures.saturating_add(1);
        self.turn = self.turn.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
