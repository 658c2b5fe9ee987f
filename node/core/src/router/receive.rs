//! Batches from other nodes, and their acknowledgement.

use super::handle::{Offer, Offered, Unwelcome};
use super::instance::State;
use super::link::SOON;
use super::{JUMP, Router};
use capmesh_coap::Code;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::message::{Ack, Batch, Stream};
use capmesh_wire::{ErrorCode, InstanceId, Instant, NodeId, Problem, Seq, content_format};
use core::time::Duration;

/// What is to be said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// 2.04 with this.
    Acknowledged(Ack),
    /// The code that goes with this.
    Refused(Problem<'static>),
    /// Nothing now: the router has kept the responder and answers in [`Router::poll`].
    Later,
}

/// A batch that has been accepted and waits for a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    responder: Responder,
    consumer: InstanceId,
    stream: Stream,
    /// The first message that does not have to be covered.
    up_to: Seq,
    /// When to say what is covered, whatever that is.
    pub(super) due: Instant,
}

/// Requests that are to be left unanswered, until the endpoint is told.
const IGNORED: usize = 16;

/// Content-Format of problems: application/cbor.
pub(super) const CBOR: u16 = 60;

/// An encoded problem without a detail: a map of three numbers and an id.
pub(super) const PROBLEM: usize = 32;

impl Router {
    /// Takes a batch that the node `from` has sent for an instance. One that came in a non-confirmable
    /// message is for `latest` wires, and whatever is said to it is not sent. The work is one pass
    /// over the batch.
    pub fn receive(
        &mut self,
        now: Instant,
        from: NodeId,
        consumer: InstanceId,
        confirmable: bool,
        responder: Option<Responder>,
        body: &[u8],
    ) -> Received {
        let received = self.try_receive(now, from, consumer, confirmable, responder, body);
        self.dirty = true;
        let received = received.unwrap_or_else(Received::Refused);
        if !confirmable {
            // Nobody waits for an answer. If there are too many, the endpoint forgets them by itself.
            self.ignored.extend(responder.filter(|_| self.ignored.len() < IGNORED));
            return Received::Later;
        }
        received
    }

    fn try_receive(
        &mut self,
        now: Instant,
        from: NodeId,
        consumer: InstanceId,
        confirmable: bool,
        responder: Option<Responder>,
        body: &[u8],
    ) -> Result<Received, Problem<'static>> {
        let batch: Batch<'_> = decode(body).map_err(|_| Problem::new(ErrorCode::Malformed))?;
        let at = self.index(consumer).ok_or(self.later(ErrorCode::Busy))?;
        let instance = self.instances.get_mut(at).ok_or(Problem::new(ErrorCode::Internal))?;
        let input = instance.inputs.iter().find(|input| input.stream == batch.stream);
        if input.is_some_and(|i| i.node != from && i.seen && i.epoch < batch.epoch) {
            // It has moved, it seems, and the plan that says so is still on its way here.
            self.stats.forbidden = self.stats.forbidden.saturating_add(1);
            return Err(soon(ErrorCode::Busy));
        }
        let Some(input) = input.filter(|i| i.node == from && i.every == confirmable) else {
            self.stats.forbidden = self.stats.forbidden.saturating_add(1);
            return Err(Problem::new(ErrorCode::Forbidden));
        };
        let committed = input.committed;
        match instance.state {
            State::Running => {}
            State::Waiting => return Err(soon(ErrorCode::Busy)),
            State::Moving(to) | State::Released(to, _) => {
                return Err(Problem { moved_to: Some(to), ..soon(ErrorCode::Moving) });
            }
        }
        match instance.admit(batch.stream, batch.epoch, batch.schema) {
            Ok(()) => {}
            Err(Unwelcome::Epoch) => {
                self.stats.stale = self.stats.stale.saturating_add(1);
                return Err(Problem::new(ErrorCode::StaleEpoch));
            }
            Err(Unwelcome::Schema) => {
                self.stats.refused = self.stats.refused.saturating_add(1);
                return Err(Problem::new(ErrorCode::SchemaMismatch));
            }
        }
        if confirmable && batch.messages.is_empty() {
            self.skip(at, batch.stream, batch.first);
            return self.ack(at, batch.stream, committed.max(batch.first));
        }
        let (up_to, first) = self.take(at, &batch);
        match first {
            Some(Offered::Gap) => return self.ack(at, batch.stream, committed),
            Some(Offered::Full) => return Err(self.later(ErrorCode::InboxFull)),
            _ if !confirmable => return Ok(Received::Later),
            _ => {}
        }
        if committed >= up_to {
            return self.ack(at, batch.stream, committed);
        }
        if self.held.len() >= usize::from(self.config.held) {
            self.stats.full = self.stats.full.saturating_add(1);
            return Err(self.later(ErrorCode::Full));
        }
        let responder = responder.ok_or(self.later(ErrorCode::Busy))?;
        let due = now + self.config.ack_patience;
        self.held.push(Held { responder, consumer, stream: batch.stream, up_to, due });
        Ok(Received::Later)
    }

    /// Takes the messages of a batch as far as there is room. Gives the number of the first that was
    /// not taken, and what became of the first one.
    fn take(&mut self, at: usize, batch: &Batch<'_>) -> (Seq, Option<Offered>) {
        let mut up_to = batch.first;
        let mut first = None;
        for message in batch.numbered() {
            let offer = Offer {
                stream: batch.stream,
                seq: message.seq,
                sampled: message.sampled,
                payload: message.payload,
                arrived: self.arrival(),
            };
            let offered = self.offer(at, offer);
            first = first.or(Some(offered));
            if matches!(offered, Offered::Gap | Offered::Full) {
                break;
            }
            up_to = message.seq.next();
        }
        (up_to, first)
    }

    /// Goes on from `first`, because the producer has nothing before it any more.
    pub(super) fn skip(&mut self, at: usize, stream: Stream, first: Seq) {
        let Some(instance) = self.instances.get_mut(at) else { return };
        let Some(input) = instance.inputs.iter_mut().find(|i| i.stream == stream) else { return };
        let Some(missed) = first.0.checked_sub(input.next.0) else { return };
        if input.seen && missed < JUMP {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            instance.counters.dropped = instance.counters.dropped.saturating_add(missed);
        }
        input.next = first;
    }

    /// What has been accepted for good: the messages of a stream below `next`.
    fn ack(&self, at: usize, stream: Stream, next: Seq) -> Result<Received, Problem<'static>> {
        let instance = self.instances.get(at).ok_or(Problem::new(ErrorCode::Internal))?;
        let input = instance.inputs.iter().find(|input| input.stream == stream);
        let input = input.ok_or(Problem::new(ErrorCode::Internal))?;
        let longest = instance.shapes.get(input.shape).map_or(0, |shape| shape.longest);
        let room = instance.inbox.room(instance.inbox_bounds, longest);
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        Ok(Received::Acknowledged(Ack { stream, epoch: input.epoch, next, room }))
    }

    fn later(&self, code: ErrorCode) -> Problem<'static> {
        Problem::retry(code, millis(self.config.retry_min))
    }

    /// Answers the batches that are covered, that have waited long enough, or whose instance is gone.
    pub(super) fn answer_held<P>(&mut self, now: Instant, out: &mut dyn Outbox<P>) {
        let mut at = 0;
        while let Some(held) = self.held.get(at).copied() {
            match self.judge(now, &held) {
                None => at += 1,
                Some(verdict) => {
                    self.held.swap_remove(at);
                    answer(now, out, held.responder, &verdict);
                }
            }
        }
    }

    fn judge(&self, now: Instant, held: &Held) -> Option<Received> {
        let gone = Some(Received::Refused(self.later(ErrorCode::Busy)));
        let Some(at) = self.index(held.consumer) else { return gone };
        let instance = self.instances.get(at)?;
        let input = instance.inputs.iter().find(|input| input.stream == held.stream);
        let Some(input) = input else { return gone };
        if input.committed >= held.up_to || now >= held.due {
            return self.ack(at, held.stream, input.committed).ok();
        }
        match instance.state {
            State::Running | State::Waiting => None,
            // The commit for the move is still being written: it may cover this.
            State::Moving(_) if instance.pending.is_some() => None,
            State::Moving(to) | State::Released(to, _) => {
                let problem = Problem { moved_to: Some(to), ..soon(ErrorCode::Moving) };
                Some(Received::Refused(problem))
            }
        }
    }

    /// When the first of the held batches is to be answered whatever is covered.
    pub(super) fn held_timeout(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.due).min()
    }
}

/// Answers a request that was held. Nothing can be done if that fails: the sender asks again.
pub(super) fn answer<P>(
    now: Instant,
    out: &mut dyn Outbox<P>,
    responder: Responder,
    received: &Received,
) {
    let _ = match received {
        Received::Later => Ok(()),
        Received::Acknowledged(ack) => {
            let mut buf = [0; ACK];
            let len = encode(ack, &mut buf).unwrap_or(0);
            out.respond(now, responder, Code::CHANGED, &mut |writer: &mut MessageWriter<'_>| {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, content_format::BATCH.into())?;
                writer.payload(buf.get(..len).unwrap_or_default())?;
                Ok(())
            })
        }
        Received::Refused(problem) => {
            let mut buf = [0; PROBLEM];
            let len = encode(problem, &mut buf).unwrap_or(0);
            let code = Code(problem.code.coap_code());
            out.respond(now, responder, code, &mut |writer: &mut MessageWriter<'_>| {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, CBOR.into())?;
                if let Some(retry) = problem.retry_ms {
                    writer.option_uint(OptionNumber::MAX_AGE, seconds(retry))?;
                }
                writer.payload(buf.get(..len).unwrap_or_default())?;
                Ok(())
            })
        }
    };
}

/// Not now, but the plan is being changed or carried out: whoever asks again soon waits for nothing longer
/// than that takes.
fn soon(code: ErrorCode) -> Problem<'static> {
    Problem::retry(code, millis(SOON))
}

/// An encoded acknowledgement: three heads and numbers of 5, 2, 5, 9 and 3 bytes.
pub(super) const ACK: usize = 32;

/// Milliseconds as Max-Age counts them, rounded up.
pub(super) const fn seconds(millis: u32) -> u32 {
    millis.div_ceil(1_000)
}

pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
