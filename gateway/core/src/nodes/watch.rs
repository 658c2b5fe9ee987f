//! One thing that is observed at a node.

use capmesh_coap::Message;
use capmesh_coap::MessageWriter;
use capmesh_coap::block::{BlockSize, Download, DownloadStep};
use capmesh_coap::endpoint::{ExchangeId, Reliability};
use capmesh_coap::option::OptionNumber;
use capmesh_session::{Link, Peer};
use capmesh_wire::Instant;
use core::time::Duration;

/// Bytes of what is observed.
const LIMIT: u32 = 64 << 10;

/// The wait after an observation that ended or could not begin; doubles each time.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// An observation: a notification brings the first block, the rest is asked for.
#[derive(Debug)]
pub(crate) struct Watch {
    path: &'static str,
    observation: Option<ExchangeId>,
    /// The request for the blocks that the notification did not bring.
    rest: Option<ExchangeId>,
    download: Option<Box<Download>>,
    body: Vec<u8>,
    again_at: Option<Instant>,
    failures: u8,
}

/// What a response was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not one to this.
    Other,
    /// A part of it, or nothing of use.
    Part,
    /// All of a state.
    Whole(Vec<u8>),
}

impl Watch {
    pub(crate) const fn new(path: &'static str) -> Self {
        Self {
            path,
            observation: None,
            rest: None,
            download: None,
            body: Vec::new(),
            again_at: Some(Instant::ZERO),
            failures: 0,
        }
    }

    /// When there is something to do.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.again_at
    }

    /// Begins to observe, if that is due.
    pub(crate) fn poll(&mut self, now: Instant, link: &mut dyn Link, peer: Peer) {
        if self.again_at.is_none_or(|at| at > now) {
            return;
        }
        let path = self.path;
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            writer.path(path)?;
            Ok(())
        };
        let sent =
            link.request(now, peer, Reliability::Confirmable, capmesh_coap::Code::GET, &mut build);
        match sent {
            Ok(exchange) => {
                self.observation = Some(exchange);
                self.again_at = None;
            }
            Err(_) => self.fail(now),
        }
    }

    /// Takes a response. `last` says that the exchange has ended with it.
    pub(crate) fn response(
        &mut self,
        now: Instant,
        link: &mut dyn Link,
        peer: Peer,
        exchange: ExchangeId,
        message: &Message<'_>,
        last: bool,
    ) -> Heard {
        let is_rest = self.rest == Some(exchange);
        if !is_rest && self.observation != Some(exchange) {
            return Heard::Other;
        }
        if is_rest {
            self.rest = None;
        } else {
            // A newer state: what is left of an older one is not asked for any more.
            if let Some(rest) = self.rest.take() {
                link.cancel(now, rest);
            }
            self.body.clear();
            self.download = Some(Box::new(Download::new(LIMIT, block(link))));
            if last {
                // It was answered and is not observed.
                self.observation = None;
                self.fail(now);
            }
        }
        let Some(download) = &mut self.download else { return Heard::Part };
        match download.handle(message) {
            DownloadStep::Part { payload, more, .. } => {
                self.body.extend_from_slice(payload);
                if !more {
                    self.download = None;
                    self.failures = 0;
                    return Heard::Whole(core::mem::take(&mut self.body));
                }
                self.ask_rest(now, link, peer);
            }
            DownloadStep::Restart => {
                self.body.clear();
                self.ask_rest(now, link, peer);
            }
            DownloadStep::Refused(_) | DownloadStep::Failed(_) => self.download = None,
        }
        Heard::Part
    }

    /// An exchange has ended without a response. Says whether it was one of this.
    pub(crate) fn ended(&mut self, now: Instant, exchange: ExchangeId) -> bool {
        if self.rest == Some(exchange) {
            self.rest = None;
            return true;
        }
        if self.observation != Some(exchange) {
            return false;
        }
        self.observation = None;
        self.fail(now);
        true
    }

    /// The node has forgotten what is observed, or may have: begin anew.
    pub(crate) fn restart(&mut self, now: Instant, link: &mut dyn Link) {
        self.stop(now, link);
        self.again_at = Some(now);
        self.failures = 0;
    }

    /// Observes no more.
    pub(crate) fn stop(&mut self, now: Instant, link: &mut dyn Link) {
        for exchange in [self.observation.take(), self.rest.take()].into_iter().flatten() {
            link.cancel(now, exchange);
        }
        self.again_at = None;
    }

    fn ask_rest(&mut self, now: Instant, link: &mut dyn Link, peer: Peer) {
        let (path, download) = (self.path, &self.download);
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.path(path)?;
            download.as_ref().map_or(Ok(()), |download| download.write(writer))
        };
        self.rest = link
            .request(now, peer, Reliability::Confirmable, capmesh_coap::Code::GET, &mut build)
            .ok();
    }

    fn fail(&mut self, now: Instant) {
        let wait = RETRY * (1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        self.again_at = Some(now + wait.min(LONGEST_RETRY));
    }
}

fn block(link: &dyn Link) -> BlockSize {
    BlockSize::at_most(link.mtu().saturating_sub(256)).unwrap_or(BlockSize::MIN)
}
