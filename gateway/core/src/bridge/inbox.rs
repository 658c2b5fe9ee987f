//! Batches from nodes, as a CoAP resource.

use super::tap::Way;
use super::{Bridge, Store};
use capmesh_coap::Code;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::link_format::LinkWriter;
use capmesh_coap::message::{Kind, MessageWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Outbox, Reply, Request, Resource};
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::message::{Ack, Batch};
use capmesh_wire::{ErrorCode, InstanceId, Instant, NodeId, Problem, content_format};
use core::fmt;

/// What is to be said to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// 2.04 with this.
    Acknowledged(Ack),
    /// The code that goes with this.
    Refused(Problem<'static>),
    /// Nothing now: the bridge has kept the responder and answers in [`Bridge::poll`]; or nothing at
    /// all, if the batch was not confirmable.
    Later,
}

/// Content-Format of problems: application/cbor.
const CBOR: u16 = 60;

/// An encoded acknowledgement: three heads and numbers of 5, 2, 5, 9 and 3 bytes.
const ACK: usize = 32;

/// An encoded problem without a detail: a map of three numbers and an id.
const PROBLEM: usize = 32;

impl Bridge {
    /// Takes a batch that the node `from` has sent for an instance of the gateway's. One that came in a
    /// non-confirmable message is for `latest` wires, and whatever is said to it is not sent. The work is
    /// one pass over the batch.
    pub fn receive(
        &mut self,
        from: NodeId,
        consumer: InstanceId,
        confirmable: bool,
        responder: Option<Responder>,
        body: &[u8],
        store: &mut Store,
    ) -> Received {
        let batch: Batch<'_> = match decode(body) {
            Ok(batch) => batch,
            Err(_) => return Received::Refused(Problem::new(ErrorCode::Malformed)),
        };
        let way = Way { from, consumer, confirmable, responder, connected: self.up };
        let received = self.taps.receive(&batch, &way, &mut self.counters, store);
        received.unwrap_or_else(Received::Refused)
    }
}

/// Takes batches: mounted below [`paths::INBOX`](capmesh_wire::paths::INBOX), made on the spot.
pub struct InboxResource<'a, P> {
    bridge: &'a mut Bridge,
    store: &'a mut Store,
    sender: fn(P) -> Result<NodeId, Code>,
}

impl<'a, P> InboxResource<'a, P> {
    /// Takes them from those that `sender` knows the node of; the others get the code that it says
    /// (4.01 or 4.03).
    pub const fn new(
        bridge: &'a mut Bridge,
        store: &'a mut Store,
        sender: fn(P) -> Result<NodeId, Code>,
    ) -> Self {
        Self { bridge, store, sender }
    }
}

impl<P> fmt::Debug for InboxResource<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxResource")
    }
}

impl<P: Copy> Resource<P> for InboxResource<'_, P> {
    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let from = (self.sender)(request.peer())?;
        let mut rest = request.rest();
        let (Some(Ok(consumer)), None) = (rest.next().map(str::parse), rest.next()) else {
            return Err(Code::NOT_FOUND.into());
        };
        request.expect_format(&[content_format::BATCH])?;
        let confirmable = request.message().kind() == Kind::Confirmable;
        let (responder, body) = (request.responder(), request.body());
        let consumer = InstanceId(consumer);
        let Self { bridge, store, .. } = self;
        match bridge.receive(from, consumer, confirmable, responder, body, store) {
            Received::Later => Ok(Done::Later),
            Received::Refused(problem) => {
                let mut buf = [0; PROBLEM];
                let len = encode(&problem, &mut buf).unwrap_or(0);
                if let Some(retry) = problem.retry_ms {
                    reply.max_age(seconds(retry));
                }
                reply.content_format(CBOR).write(buf.get(..len).unwrap_or_default());
                Ok(Done::Code(Code(problem.code.coap_code())))
            }
            Received::Acknowledged(ack) => {
                let mut buf = [0; ACK];
                let len = encode(&ack, &mut buf).map_err(|_| Code::INTERNAL_SERVER_ERROR)?;
                reply.content_format(content_format::BATCH);
                reply.write(buf.get(..len).unwrap_or_default());
                Ok(Done::Changed)
            }
        }
    }

    /// It is for those who have a plan.
    fn links(&self, _path: &str, _links: &mut LinkWriter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Answers a batch that was held. Nothing can be done if that fails: the sender asks again.
pub(super) fn answer<P>(
    now: Instant,
    out: &mut dyn Outbox<P>,
    responder: Responder,
    received: &Received,
) {
    let mut buf = [0; if ACK > PROBLEM { ACK } else { PROBLEM }];
    let (code, format, len, retry) = match received {
        Received::Later => return,
        Received::Acknowledged(ack) => {
            (Code::CHANGED, content_format::BATCH, encode(ack, &mut buf), None)
        }
        Received::Refused(problem) => {
            let code = Code(problem.code.coap_code());
            (code, CBOR, encode(problem, &mut buf), problem.retry_ms)
        }
    };
    let body = buf.get(..len.unwrap_or(0)).unwrap_or_default();
    let _ = out.respond(now, responder, code, &mut |writer: &mut MessageWriter<'_>| {
        writer.option_uint(OptionNumber::CONTENT_FORMAT, format.into())?;
        if let Some(retry) = retry {
            writer.option_uint(OptionNumber::MAX_AGE, seconds(retry))?;
        }
        writer.payload(body)?;
        Ok(())
    });
}

/// Milliseconds as Max-Age counts them, rounded up.
const fn seconds(millis: u32) -> u32 {
    millis.div_ceil(1_000)
}
