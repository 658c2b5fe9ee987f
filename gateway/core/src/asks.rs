//! Requests of the gateway's that wait for their answers, whole bodies both ways.

use capmesh_coap::block::{BlockSize, Download, RequestTag, Transfer, TransferStep, Upload};
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Message, MessageWriter};
use capmesh_session::{Link, Peer};
use capmesh_wire::{ErrorCode, Instant, Problem, cbor};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of an answer: the longest log and roster fit.
const ANSWER: u32 = 96 << 10;

/// Requests in flight, over all nodes.
pub(crate) const ASKS: usize = 1_024;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) code: Code,
    pub(crate) path: Cow<'static, str>,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<(u16, Vec<u8>)>,
}

impl Request {
    pub(crate) fn get(path: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::GET, path: path.into(), query: None, body: None }
    }

    pub(crate) const fn with(code: Code, path: &'static str, format: u16, body: Vec<u8>) -> Self {
        Self { code, path: Cow::Borrowed(path), query: None, body: Some((format, body)) }
    }

    fn body(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |(_, body)| body)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `None` if there was no answer.
    pub(crate) code: Option<Code>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) const NONE: Self = Self { code: None, body: Vec::new() };

    pub(crate) fn is_success(&self) -> bool {
        self.code.is_some_and(Code::is_success)
    }

    /// What was refused and why: the reason, and after how many milliseconds to try again if it goes
    /// away by itself.
    pub(crate) fn problem(&self) -> (ErrorCode, Option<u32>) {
        match (cbor::decode::<Problem<'_>>(&self.body), self.code) {
            (Ok(problem), Some(_)) => (problem.code, problem.retry_ms),
            (_, None) => (ErrorCode::Timeout, Some(1_000)),
            (_, Some(Code::SERVICE_UNAVAILABLE)) => (ErrorCode::Busy, Some(1_000)),
            (_, Some(Code::FORBIDDEN | Code::UNAUTHORIZED)) => (ErrorCode::Forbidden, None),
            _ => (ErrorCode::Internal, None),
        }
    }
}

#[derive(Debug)]
struct Ask<T> {
    to: Peer,
    request: Request,
    transfer: Transfer,
    body: Vec<u8>,
    purpose: T,
}

/// Requests in flight, each with a purpose `T` that comes back with its answer. Every request ends once:
/// with an answer or without one.
#[derive(Debug)]
pub(crate) struct Asks<T> {
    asks: BTreeMap<ExchangeId, Ask<T>>,
    tag: u32,
}

impl<T> Asks<T> {
    pub(crate) const fn new(tag: u32) -> Self {
        Self { asks: BTreeMap::new(), tag }
    }

    /// The purposes of what is in flight.
    pub(crate) fn purposes(&self) -> impl Iterator<Item = &T> {
        self.asks.values().map(|ask| &ask.purpose)
    }

    /// Asks. Gives the purpose back if there is no room, or no way to the peer.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        to: Peer,
        request: Request,
        purpose: T,
    ) -> Result<(), T> {
        if self.asks.len() >= ASKS {
            return Err(purpose);
        }
        let block = BlockSize::at_most(link.mtu().saturating_sub(256)).unwrap_or(BlockSize::MIN);
        let mut upload = Upload::of(request.body(), block);
        if request.body().len() > block.bytes() as usize {
            self.tag = self.tag.wrapping_add(1);
            if let Some(tag) = RequestTag::new(&self.tag.to_be_bytes()) {
                upload = upload.with_request_tag(tag);
            }
        }
        let transfer = Transfer::new(upload, Download::new(ANSWER, block));
        self.go_on(now, link, Ask { to, request, transfer, body: Vec::new(), purpose })
    }

    /// Takes a response if it is one to something here: `Some(None)` if there is more to come.
    pub(crate) fn response(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        exchange: ExchangeId,
        message: &Message<'_>,
    ) -> Option<Option<(T, Answer)>> {
        let mut ask = self.asks.remove(&exchange)?;
        let code = Some(message.code());
        let ended = match ask.transfer.handle(message) {
            TransferStep::Next => None,
            TransferStep::Part { payload, more, .. } => {
                ask.body.extend_from_slice(payload);
                (!more).then(|| Answer { code, body: core::mem::take(&mut ask.body) })
            }
            TransferStep::Refused(code) => {
                Some(Answer { code: Some(code), body: message.payload().to_vec() })
            }
            TransferStep::UploadFailed(_) | TransferStep::DownloadFailed(_) => Some(Answer::NONE),
        };
        if let Some(answer) = ended {
            return Some(Some((ask.purpose, answer)));
        }
        Some(self.go_on(now, link, ask).err().map(|purpose| (purpose, Answer::NONE)))
    }

    /// Takes an outcome if it ends something here.
    pub(crate) fn outcome(&mut self, outcome: &Outcome) -> Option<(T, Answer)> {
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return None;
        };
        Some((self.asks.remove(exchange)?.purpose, Answer::NONE))
    }

    /// Gives up what `is_void` says of.
    pub(crate) fn cancel(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        is_void: impl Fn(&T) -> bool,
    ) {
        self.asks.retain(|exchange, ask| {
            let void = is_void(&ask.purpose);
            if void {
                link.cancel(now, *exchange);
            }
            !void
        });
    }

    fn go_on(&mut self, now: Instant, link: &mut dyn Link, ask: Ask<T>) -> Result<(), T> {
        let Ask { to, request, transfer, .. } = &ask;
        let mut build = |writer: &mut MessageWriter<'_>| {
            for segment in request.path.split('/') {
                writer.path(segment)?;
            }
            if let Some((format, _)) = request.body {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
            }
            if let Some(query) = &request.query {
                writer.option(OptionNumber::URI_QUERY, query.as_bytes())?;
            }
            transfer.write(writer, request.body())
        };
        match link.request(now, *to, Reliability::Confirmable, request.code, &mut build) {
            Ok(exchange) => {
                self.asks.insert(exchange, ask);
                Ok(())
            }
            Err(_) => Err(ask.purpose),
        }
    }
}
