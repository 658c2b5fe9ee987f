//! Asking a neighbour for a newer roster.

use super::intake::{BUFFER, Intake, Outcome};
use crate::problem::Reason;
use capmesh_coap::block::{BlockSize, Download, DownloadStep};
use capmesh_coap::endpoint::{ExchangeId, Reliability, RequestError};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_coap::{Code, Message, MessageWriter};
use capmesh_session::Peer;
use capmesh_wire::{ErrorCode, Instant, NodeId, Revision, limits, paths};
use core::fmt::Write;
use core::time::Duration;

/// Bytes of an answer at most.
const LIMIT: u32 = {
    let longest = limits::ROSTER_HEAD + limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY + 8;
    assert!(longest > BUFFER && longest <= u32::MAX as usize);
    #[expect(clippy::cast_possible_truncation, reason = "asserted")]
    let longest = longest as u32;
    longest
};

/// How long a neighbour is left alone that has not kept what it announced: doubles each time.
const REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(320);

/// Neighbours that are remembered for that.
const RESTED: usize = 4;

/// A request for the roster, block by block.
pub(super) struct Pull {
    peer: Peer,
    id: NodeId,
    /// The version that is held, if what changed since is enough.
    base: Option<Revision>,
    download: Download,
    exchange: Option<ExchangeId>,
}

impl Pull {
    pub(super) fn new(peer: Peer, id: NodeId, base: Option<Revision>, block: BlockSize) -> Self {
        let download = Download::new(LIMIT, block).early();
        Self { peer, id, base, download, exchange: None }
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn is(&self, exchange: ExchangeId) -> bool {
        self.exchange == Some(exchange)
    }

    /// Asks for the next block, if there is room for it.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Peer>,
        intake: &mut Intake,
    ) {
        if self.exchange.is_some() || !intake.wants_part() {
            return;
        }
        let (base, download) = (self.base, &self.download);
        let sent =
            out.request(now, self.peer, Reliability::Confirmable, Code::GET, &mut |writer| {
                write(writer, base, download)
            });
        match sent {
            Ok(exchange) => self.exchange = Some(exchange),
            Err(RequestError::Full) => {}
            Err(_) => intake.give_up(Reason::new(ErrorCode::Unreachable)),
        }
    }

    pub(super) fn response(&mut self, message: &Message<'_>, intake: &mut Intake) {
        self.exchange = None;
        match self.download.handle(message) {
            DownloadStep::Part { payload, more, .. } => intake.push(payload, !more),
            // It has a newer one now, and said so by another entity-tag: the next try gets that.
            DownloadStep::Restart => intake.give_up(Reason::new(ErrorCode::Moving)),
            DownloadStep::Refused(_) => intake.give_up(Reason::new(ErrorCode::Forbidden)),
            DownloadStep::Failed(error) => {
                intake.give_up(Reason::new(ErrorCode::Malformed).because(error));
            }
        }
    }

    pub(super) fn fail(&mut self) {
        self.exchange = None;
    }

    pub(super) fn cancel(&mut self, now: Instant, out: &mut dyn Outbox<Peer>) {
        if let Some(exchange) = self.exchange.take() {
            out.cancel(now, exchange);
        }
    }
}

fn write(
    writer: &mut MessageWriter<'_>,
    base: Option<Revision>,
    download: &Download,
) -> Result<(), capmesh_coap::message::Overflow> {
    writer.path(paths::ROSTER)?;
    if let Some(base) = base {
        let mut query = heapless::String::<16>::new();
        // Ten digits at most.
        let _ = write!(query, "v={base}");
        writer.option(OptionNumber::URI_QUERY, query.as_bytes())?;
    }
    download.write(writer)
}

/// Neighbours that have not kept what they announced, so that one who announces what is not there
/// is not asked all the time and holds up nobody else.
pub(super) struct Rested(heapless::Vec<Rest, RESTED>);

struct Rest {
    id: NodeId,
    until: Instant,
    times: u8,
    /// What it offered as a difference led nowhere.
    whole: bool,
}

impl Rested {
    pub(super) const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    pub(super) fn rests(&self, now: Instant, id: NodeId) -> bool {
        self.0.iter().any(|rest| rest.id == id && now < rest.until)
    }

    pub(super) fn wants_whole(&self, id: NodeId) -> bool {
        self.0.iter().any(|rest| rest.id == id && rest.whole)
    }

    /// Takes note of how a request ended.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        pull: &Pull,
        result: Option<&Result<Outcome, Reason>>,
    ) {
        let at = self.0.iter().position(|rest| rest.id == pull.id);
        if matches!(result, Some(Ok(Outcome::Changed))) {
            if let Some(at) = at {
                self.0.swap_remove(at);
            }
            return;
        }
        let whole = pull.base.is_some();
        let rest = |times: u8| (REST * (1 << times.min(6))).min(LONGEST_REST);
        if let Some(known) = at.and_then(|at| self.0.get_mut(at)) {
            known.times = known.times.saturating_add(1);
            known.until = now + rest(known.times);
            known.whole = whole;
            return;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        let _ = self.0.push(Rest { id: pull.id, until: now + rest(0), times: 0, whole });
    }
}
