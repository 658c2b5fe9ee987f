//! The side that wants a blob.

use capmesh_blob::Fetch;
use capmesh_blob::fetch::{
    Buffer, Buffers, DropReason, Failure, HOLDINGS, Input, Output, Refusal, Trust,
};
use capmesh_blob::mapping::{self, Name, Number, PREFIX};
use capmesh_coap::block::{BlockSize, BlockValue};
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability, RequestError};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::Outbox;
use capmesh_coap::{Code, Message, MessageWriter};
use capmesh_wire::{Digest, Instant};
use core::net::SocketAddr;
use core::time::Duration;
use heapless::Vec;

/// How long a peer is left alone when the endpoint has no room for another request.
const FULL: Duration = Duration::from_millis(250);

/// The most RAM that a transfer of up to 1 MB takes with the default bounds, in bytes.
const BUDGET: usize = 4096;

const _: () = assert!(size_of::<Fetcher<SocketAddr>>() <= BUDGET);

/// What is left to do for whoever drives a [`Fetcher`]; see [`Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a, P> {
    /// Write a verified piece, then say [`Input::Written`].
    Write {
        /// The piece.
        piece: u16,
        /// Where to, in bytes from the start of the stored blob.
        offset: u32,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Read back what was written, then say [`Input::Read`].
    Read {
        /// Where, in bytes from the start of the stored blob.
        offset: u32,
        /// How many bytes.
        len: u16,
    },
    /// A peer is not asked for this blob any more.
    Dropped {
        /// Who.
        peer: P,
        /// Why.
        reason: DropReason,
    },
    /// Nobody who is known has what is missing.
    Stalled {
        /// How many pieces are missing.
        missing: u16,
    },
    /// It is over.
    Ended(Result<(), Failure>),
}

/// Why a blob did not come into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfetched {
    /// A peer is not asked for it any more.
    Dropped(DropReason),
    /// The transfer failed.
    Failed(Failure),
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked<P> {
    exchange: ExchangeId,
    peer: P,
    piece: u16,
    offset: u16,
}

/// A [`Fetch`] whose requests go out as confirmable GETs.
///
/// The bounds are those of [`Fetch`]; the default ones take 4 KB of RAM at most. The endpoint needs room for `WINDOW` exchanges if all of them
/// are to be in flight; where there is less, fewer are.
pub struct Fetcher<
    P,
    const WORDS: usize = 34,
    const PEERS: usize = 4,
    const WINDOW: usize = 4,
    const CHUNK: usize = 1024,
    const BUFFERS: usize = 2,
    B = [Buffer<CHUNK>; BUFFERS],
> {
    fetch: Fetch<P, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, B>,
    digest: Digest,
    block: BlockSize,
    asked: Vec<Asked<P>, WINDOW, u8>,
    /// Whose pieces come without a request of this machine's: see [`said`](crate::said).
    everybody: Option<P>,
}

impl<
    P: Copy + Eq,
    const WORDS: usize,
    const PEERS: usize,
    const WINDOW: usize,
    const CHUNK: usize,
    const BUFFERS: usize,
    B: Buffers<CHUNK>,
> Fetcher<P, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, B>
{
    /// Drives `fetch`, which fetches the blob named `digest`. `block` is the most that fits a
    /// response: [`BlockSize::MAX`] where 1,024 bytes and 100 more fit a datagram.
    #[must_use]
    pub const fn new(
        fetch: Fetch<P, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, B>,
        digest: Digest,
        block: BlockSize,
    ) -> Self {
        Self { fetch, digest, block, asked: Vec::new(), everybody: None }
    }

    /// The blob.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The machine inside.
    #[must_use]
    pub const fn fetch(&self) -> &Fetch<P, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, B> {
        &self.fetch
    }

    /// As [`Fetch::limit`].
    pub fn limit(&mut self, requests: usize) {
        self.fetch.limit(requests);
    }

    /// Leaves it to the caller to bring the pieces that `everybody` is asked for: [`Fetch::awaited`] says
    /// which, and [`Input::Part`] brings one. They are those from `first` on, as [`Fetch::listen`] has it.
    pub fn listen(&mut self, now: Instant, everybody: P, first: u16) {
        self.everybody = Some(everybody);
        self.fetch.listen(now, everybody, first);
    }

    /// As [`Fetch::resume`], before anything else was done with it.
    pub fn resume(&mut self, have: impl IntoIterator<Item = u16>, trust: Trust) {
        self.fetch.go_on(have, trust);
    }

    /// Takes what is not an answer of a peer's: peers that come and go, what they announce, and what
    /// became of [`Step::Write`] and [`Step::Read`].
    pub fn handle(&mut self, now: Instant, input: Input<'_, P>) {
        self.fetch.handle(now, input);
    }

    /// Takes back all requests and forgets all peers: to be polled once more, until there is nothing.
    pub fn abandon(&mut self) {
        self.fetch.abandon();
    }

    /// Takes a response if it answers a request of this transfer's. Says whether it did.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        let Some(asked) = self.take(exchange) else { return false };
        let (peer, piece) = (asked.peer, asked.piece);
        let input = match content(&message, asked.offset) {
            Ok((bytes, last)) => Input::Part { peer, piece, offset: asked.offset, bytes, last },
            Err(refusal) => Input::Refused { peer, piece, refusal },
        };
        self.fetch.handle(now, input);
        true
    }

    /// Takes an outcome if it ends a request of this transfer's. Says whether it did.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        let (Outcome::Failed { exchange, .. } | Outcome::Finished { exchange }) = outcome else {
            return false;
        };
        let Some(Asked { peer, piece, .. }) = self.take(*exchange) else { return false };
        self.fetch.handle(now, Input::Refused { peer, piece, refusal: Refusal::Failed });
        true
    }

    /// Sends and cancels requests, and gives out what else is to be done; to be called until there
    /// is nothing. What was sent is in the endpoint then.
    pub fn poll(&mut self, now: Instant, endpoint: &mut dyn Outbox<P>) -> Option<Step<'_, P>> {
        loop {
            match self.fetch.poll(now)? {
                Output::Request { peer, piece, .. } if Some(peer) == self.everybody => {
                    if piece == HOLDINGS {
                        // Who has what is nobody's to say: somebody has it.
                        let (bytes, last) = (&[][..], true);
                        self.fetch.handle(now, Input::Part { peer, piece, offset: 0, bytes, last });
                    }
                }
                Output::Request { peer, piece, offset } => {
                    self.send(now, endpoint, peer, piece, offset);
                }
                Output::Cancel { peer, piece } => self.cancel(now, endpoint, peer, piece),
                Output::Write { piece, offset, .. } => {
                    let bytes = self.fetch.unwritten(piece).unwrap_or_default();
                    return Some(Step::Write { piece, offset, bytes });
                }
                Output::Read { offset, len } => return Some(Step::Read { offset, len }),
                Output::Dropped { peer, reason } => return Some(Step::Dropped { peer, reason }),
                Output::Stalled { missing } => return Some(Step::Stalled { missing }),
                Output::Done => return Some(Step::Ended(Ok(()))),
                Output::Failed(failure) => return Some(Step::Ended(Err(failure))),
            }
        }
    }

    /// As [`poll`](Self::poll), for a blob that one peer has and that is kept in memory: says when it is
    /// over. `stored` has the stored size of the blob; the work is bounded by its pieces.
    ///
    /// # Errors
    /// Why it did not come. `stored` then holds the pieces that did.
    pub fn poll_into(
        &mut self,
        now: Instant,
        endpoint: &mut dyn Outbox<P>,
        stored: &mut [u8],
    ) -> Option<Result<(), Unfetched>> {
        let range = |offset: u32, len: usize| {
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            at..at.saturating_add(len)
        };
        loop {
            let input = match self.poll(now, endpoint)? {
                Step::Write { piece, offset, bytes } => {
                    match stored.get_mut(range(offset, bytes.len())) {
                        Some(place) => {
                            place.copy_from_slice(bytes);
                            Input::Written { piece }
                        }
                        None => Input::WriteFailed { piece },
                    }
                }
                Step::Read { offset, len } => match stored.get(range(offset, len.into())) {
                    Some(bytes) => Input::Read { offset, bytes },
                    None => Input::ReadFailed { offset },
                },
                Step::Stalled { .. } => continue,
                Step::Dropped { reason, .. } => return Some(Err(Unfetched::Dropped(reason))),
                Step::Ended(result) => return Some(result.map_err(Unfetched::Failed)),
            };
            self.handle(now, input);
        }
    }

    /// When to poll again although nothing has come in. `None` if it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fetch.poll_timeout()
    }

    fn send(
        &mut self,
        now: Instant,
        endpoint: &mut dyn Outbox<P>,
        peer: P,
        piece: u16,
        offset: u16,
    ) {
        let (digest, block) = (self.digest, self.block);
        let sent =
            endpoint.request(now, peer, Reliability::Confirmable, Code::GET, &mut |writer| {
                write_request(writer, &digest, piece, offset, block)
            });
        let refusal = match sent {
            Ok(exchange) => {
                // There are as many places as requests in flight, so that this one has one.
                let _ = self.asked.push(Asked { exchange, peer, piece, offset });
                return;
            }
            Err(RequestError::Full) => Refusal::Busy(FULL),
            Err(_) => Refusal::Failed,
        };
        self.fetch.handle(now, Input::Refused { peer, piece, refusal });
    }

    fn cancel(&mut self, now: Instant, endpoint: &mut dyn Outbox<P>, peer: P, piece: u16) {
        let at = self.asked.iter().position(|a| a.peer == peer && a.piece == piece);
        if let Some(at) = at {
            let asked = self.asked.swap_remove(at);
            endpoint.cancel(now, asked.exchange);
        }
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Asked<P>> {
        let at = self.asked.iter().position(|asked| asked.exchange == exchange)?;
        Some(self.asked.swap_remove(at))
    }
}

fn write_request(
    writer: &mut MessageWriter<'_>,
    digest: &Digest,
    piece: u16,
    offset: u16,
    block: BlockSize,
) -> Result<(), capmesh_coap::message::Overflow> {
    writer.path(PREFIX)?.path(Name::of(digest).as_str())?;
    if piece != HOLDINGS {
        writer.path(Number::of(piece).as_str())?;
    }
    if offset > 0 || block < BlockSize::MAX {
        // An offset is a sum of blocks: the largest power of two in it is at least as large as the
        // peer's blocks, and it can answer with smaller ones.
        let aligned = BlockSize::at_most(1 << offset.trailing_zeros().min(10));
        let size = aligned.map_or(block, |aligned| aligned.min(block));
        let value = BlockValue::at(u32::from(offset), false, size);
        value.ok_or(capmesh_coap::message::Overflow)?.write(OptionNumber::BLOCK2, writer)?;
    }
    Ok(())
}

/// What a response brings: bytes from `offset` on, and whether nothing follows.
fn content<'m>(message: &Message<'m>, offset: u16) -> Result<(&'m [u8], bool), Refusal> {
    if message.code() != Code::CONTENT {
        let max_age = message.option_uint(OptionNumber::MAX_AGE);
        return Err(mapping::refusal(message.code().0, max_age));
    }
    let block = BlockValue::find(message, OptionNumber::BLOCK2).map_err(|_| Refusal::Failed)?;
    let (start, last) = block.map_or((0, true), |block| (block.offset(), !block.more()));
    if start == u32::from(offset) { Ok((message.payload(), last)) } else { Err(Refusal::Failed) }
}
