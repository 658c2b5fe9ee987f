//! Fetching another node's snapshot.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use capmesh_blob::fetch::{Config, Fetch, Holdings, Input};
use capmesh_coap::Message;
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::{ExchangeId, Outcome, Responder};
use capmesh_coap::server::Outbox;
use capmesh_session::Peer;
use capmesh_transfer::{Fetcher, Unfetched};
use capmesh_wire::control::Restore;
use capmesh_wire::{BlobRef, ErrorCode, Instant};

/// A snapshot on its way here, into RAM.
pub(crate) struct Restoring {
    pub(crate) order: Restore,
    /// Who waits for it.
    pub(crate) waiting: Option<Responder>,
    fetcher: Box<Fetcher<Peer, 4, 1, 2, 1024, 1>>,
    stored: Vec<u8>,
}

impl Restoring {
    /// Begins to fetch the snapshot of at most `limit` bytes from `peer`.
    pub(crate) fn new(
        now: Instant,
        order: &Restore,
        peer: Peer,
        block: BlockSize,
        limit: u32,
        seed: u32,
    ) -> Result<Self, ErrorCode> {
        let blob: &BlobRef = &order.snapshot;
        if blob.size > limit {
            return Err(ErrorCode::TooLarge);
        }
        let fetch =
            Fetch::new(now, Config::default(), blob, seed).map_err(|_| ErrorCode::Unsupported)?;
        let size = usize::try_from(fetch.geometry().stored_size());
        let size = size.map_err(|_| ErrorCode::TooLarge)?;
        let mut fetcher = Box::new(Fetcher::new(fetch, blob.digest, block));
        fetcher.handle(now, Input::PeerUp { peer, rank: 0, holdings: Holdings::Whole });
        Ok(Self { order: *order, waiting: None, fetcher, stored: vec![0; size] })
    }

    /// Takes a response if it is one to this transfer.
    pub(crate) fn response(&mut self, now: Instant, exchange: ExchangeId, m: Message<'_>) -> bool {
        self.fetcher.response(now, exchange, m)
    }

    /// Takes an outcome if it is one of this transfer's.
    pub(crate) fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        self.fetcher.outcome(now, outcome)
    }

    /// When to poll next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.fetcher.poll_timeout()
    }

    /// Goes on. Says when it is over: the snapshot, or why there is none. The work is bounded by a few
    /// pieces.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Peer>,
    ) -> Option<Result<&[u8], ErrorCode>> {
        Some(match self.fetcher.poll_into(now, out, &mut self.stored)? {
            Ok(()) => {
                let size = usize::try_from(self.order.snapshot.size).unwrap_or(usize::MAX);
                self.stored.get(..size).ok_or(ErrorCode::Internal)
            }
            Err(Unfetched::Dropped(_)) => Err(ErrorCode::Unreachable),
            Err(Unfetched::Failed(_)) => Err(ErrorCode::Timeout),
        })
    }
}

impl core::fmt::Debug for Restoring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Restoring({:?})", self.order)
    }
}
