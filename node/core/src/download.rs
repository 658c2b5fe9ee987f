//! A blob on its way to this node: a [`Fetcher`] and the place that it fills.
//!
//! Documents (of which only the digest is known: manifests) are put together in RAM, everything else
//! in an extent of flash, piece by piece, each verified before it is written and marked when it is
//! durable. What flash holds of a blob when the node restarts need not be fetched again.

use crate::flash::{Done, ExtentId, Store};
use crate::install::listen::{Listener, Say};
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_blob::fetch::{
    Buffer, Buffers, Config, DropReason, Failure, Fetch, Holdings, Input, StartError, Trust,
};
use capmesh_blob::mapping::{Name, PREFIX};
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::{ExchangeId, Outcome, Reliability};
use capmesh_coap::server::Outbox;
use capmesh_coap::{Code, Message, MessageWriter};
use capmesh_session::Peer;
use capmesh_transfer::said::write_lacks;
use capmesh_transfer::{Fetcher, Step as FetchStep};
use capmesh_wire::said::{LACK, Lack};
use capmesh_wire::{BlobRef, Digest, Instant, limits};

/// The largest piece, as a power of two: that of a document is a manifest.
pub const CHUNK_LOG2: u8 = 11;

/// Bytes of the largest piece.
const CHUNK: usize = 1 << CHUNK_LOG2;

const _: () = assert!(CHUNK == limits::MANIFEST);

/// Pieces that wait to be written.
const BUFFERS: usize = 2;

/// Peers that are asked for one blob.
pub const PEERS: usize = 6;

/// Requests in flight.
const REQUESTS: usize = 4;

/// Pieces that are waited for while they are said to all.
pub(crate) const WINDOW: usize = 8;

/// Words of the bitmap of pieces: modules of a megabyte in pieces of one kilobyte.
const WORDS: usize = 34;

/// Pieces that one [`Download::poll`] reads back and hashes at most.
const READS: usize = 4;

type Fetching = Fetcher<Peer, WORDS, PEERS, WINDOW, CHUNK, BUFFERS, OnHeap>;

/// Bytes of RAM while a blob is on its way.
const BUDGET: usize = 7 * 1_024;
const _: () = assert!(size_of::<Fetching>() + BUFFERS * size_of::<Buffer<CHUNK>>() <= BUDGET);

/// Buffers that are made where they stay: within the fetcher they would come over the stack, several
/// times.
struct OnHeap(Vec<Buffer<CHUNK>>);

impl Buffers<CHUNK> for OnHeap {
    fn new(count: usize) -> Self {
        let mut buffers = Vec::with_capacity(count);
        buffers.resize_with(count, || Buffer::EMPTY);
        Self(buffers)
    }

    fn all(&self) -> &[Buffer<CHUNK>] {
        &self.0
    }

    fn all_mut(&mut self) -> &mut [Buffer<CHUNK>] {
        &mut self.0
    }
}

/// A blob on its way.
pub struct Download {
    fetcher: Box<Fetching>,
    place: Place,
    /// Pieces that are verified and wait for the store.
    verified: heapless::Vec<u16, BUFFERS>,
    /// There is more to do at once.
    has_more: Option<Instant>,
    /// It is said to all no longer, and peers are to be added.
    is_left: bool,
    /// While what all on the link hear is listened to, rather than peers asked.
    listening: Option<Box<Listening>>,
}

/// What a blob that is said to all takes.
struct Listening {
    listener: Listener,
    everybody: Peer,
    /// The request in a session that it be said.
    asked: Option<ExchangeId>,
}

enum Place {
    Ram(Vec<u8>),
    Extent {
        id: ExtentId,
        is_ready: bool,
        /// The piece that the store is writing.
        writing: Option<u16>,
    },
}

/// What has come of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody who is known has what is missing.
    Stalled,
    /// A peer is not asked any more.
    Dropped {
        /// Who.
        peer: Peer,
        /// Why.
        reason: DropReason,
    },
    /// Nobody says it to all: peers are to be added.
    Unsaid,
    /// It is over.
    Ended(Result<(), Failure>),
}

impl Download {
    /// Fetches a document into RAM.
    ///
    /// # Errors
    /// None with the constants above.
    pub fn document(
        now: Instant,
        config: Config,
        digest: Digest,
        block: BlockSize,
        seed: u32,
    ) -> Result<Self, StartError> {
        let fetch = Fetch::document(now, config, digest, seed)?;
        Ok(Self::new(Fetcher::new(fetch, digest, block), Place::Ram(Vec::new())))
    }

    /// Fetches a blob into an extent that was allocated for it, and may hold some of its pieces
    /// already. If the extent is not ready to be written yet, nobody is asked before it is.
    ///
    /// # Errors
    /// If the blob is too large, or its pieces are.
    pub fn blob(
        now: Instant,
        config: Config,
        blob: &BlobRef,
        (flash, store): (&[u8], &Store),
        id: ExtentId,
        is_ready: bool,
        (block, seed): (BlockSize, u32),
    ) -> Result<Self, StartError> {
        let place = Place::Extent { id, is_ready, writing: None };
        let fetch = Fetch::new(now, config, blob, seed)?;
        let mut download = Self::new(Fetcher::new(fetch, blob.digest, block), place);
        if is_ready {
            let pieces = 0..download.fetcher.fetch().geometry().pieces();
            let have = pieces.filter(|piece| store.has(flash, id, *piece));
            download.fetcher.resume(have, Trust::Recorded);
        }
        Ok(download)
    }

    fn new(mut fetcher: Fetching, place: Place) -> Self {
        fetcher.limit(REQUESTS);
        let verified = heapless::Vec::new();
        let (has_more, is_left, listening) = (None, false, None);
        Self { fetcher: Box::new(fetcher), place, verified, has_more, is_left, listening }
    }

    /// Has it come as it is said to all, until that does not go on. `everybody` is the group.
    pub(crate) fn listen(&mut self, now: Instant, everybody: Peer, listener: Listener) {
        self.fetcher.listen(now, everybody, 0);
        self.listening = Some(Box::new(Listening { listener, everybody, asked: None }));
    }

    /// What listens, while it is said to all.
    pub(crate) fn listener(&mut self) -> Option<&mut Listener> {
        self.listening.as_mut().map(|listening| &mut listening.listener)
    }

    /// Asks in a session, or says to all, what is lacking, if it is time to: in a datagram for the group, in
    /// `buf`, whose length it returns. `source` is who is asked in the nth session.
    pub(crate) fn say(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Peer>,
        source: &dyn Fn(usize) -> Option<Peer>,
        id: u16,
        buf: &mut [u8],
    ) -> Option<usize> {
        let digest = *self.fetcher.digest();
        loop {
            let Listening { listener, asked, .. } = self.listening.as_deref_mut()?;
            match listener.poll(now, id, buf)? {
                Say::ToAll(len) => return Some(len),
                Say::GiveUp => {
                    self.leave(now, out);
                    return None;
                }
                Say::InSession(turn) => {
                    if let Some(exchange) = asked.take() {
                        out.cancel(now, exchange);
                    }
                    let lacks = listener.lacks();
                    let sent =
                        source(turn).and_then(|peer| ask_to_say(now, out, peer, &digest, &lacks));
                    match sent {
                        Some(exchange) => *asked = Some(exchange),
                        None => listener.refused(now, false),
                    }
                }
            }
        }
    }

    /// Listens no longer.
    fn leave(&mut self, now: Instant, out: &mut dyn Outbox<Peer>) {
        let Some(listening) = self.listening.take() else { return };
        if let Some(exchange) = listening.asked {
            out.cancel(now, exchange);
        }
        self.fetcher.handle(now, Input::PeerDown { peer: listening.everybody });
        self.is_left = true;
        self.has_more = Some(now);
    }

    /// Hands on pieces that have been put together, as far as there is room for them.
    fn hear(&mut self, now: Instant) {
        let Some(Listening { listener, everybody, .. }) = self.listening.as_deref_mut() else {
            return;
        };
        if let Some(piece) = listener.take_ahead() {
            self.fetcher.listen(now, *everybody, piece);
        }
        while self.fetcher.fetch().has_room()
            && let Some((piece, bytes)) = listener.whole()
        {
            let part = Input::Part { peer: *everybody, piece, offset: 0, bytes, last: true };
            self.fetcher.handle(now, part);
            listener.forget(piece);
        }
    }

    /// Tells the listener what is waited for.
    fn await_said(&mut self) {
        if let Some(Listening { listener, everybody, .. }) = self.listening.as_deref_mut() {
            let pieces: heapless::Vec<u16, WINDOW> =
                self.fetcher.fetch().awaited(*everybody).collect();
            listener.want(pieces.iter().copied());
        }
    }

    /// Asks this peer too, if nobody says it to all and there is room for one more, or if it is the first of a
    /// higher rank than the others. Those of a lower rank are asked first.
    pub fn add(&mut self, now: Instant, peer: Peer, rank: u8) {
        if self.listening.is_some() {
            return;
        }
        self.fetcher.handle(now, Input::PeerUp { peer, rank, holdings: Holdings::Unknown });
    }

    /// How many of its pieces are chunks.
    #[must_use]
    pub fn chunks(&self) -> u16 {
        self.fetcher.fetch().geometry().chunks()
    }

    /// How many pieces it has.
    #[must_use]
    pub fn pieces(&self) -> u16 {
        self.fetcher.fetch().geometry().pieces()
    }

    /// How many pieces are missing.
    #[must_use]
    pub fn missing(&self) -> u16 {
        self.fetcher.fetch().missing()
    }

    /// The document, once the download has ended well.
    #[must_use]
    pub fn into_document(self) -> Vec<u8> {
        match self.place {
            Place::Ram(bytes) => bytes,
            Place::Extent { .. } => Vec::new(),
        }
    }

    /// The extent that is being filled.
    #[must_use]
    pub const fn extent(&self) -> Option<ExtentId> {
        match self.place {
            Place::Ram(_) => None,
            Place::Extent { id, .. } => Some(id),
        }
    }

    /// Takes a response if it is to a request of this download's. Says whether it was.
    pub fn response(&mut self, now: Instant, exchange: ExchangeId, message: Message<'_>) -> bool {
        if let Some(listening) = &mut self.listening
            && listening.asked.take_if(|asked| *asked == exchange).is_some()
        {
            if message.code() != Code::CHANGED {
                let is_never = message.code() == Code::METHOD_NOT_ALLOWED;
                listening.listener.refused(now, is_never);
            }
            return true;
        }
        self.fetcher.response(now, exchange, message)
    }

    /// Takes an outcome if it is that of a request of this download's. Says whether it was.
    pub fn outcome(&mut self, now: Instant, outcome: &Outcome) -> bool {
        if let Outcome::Failed { exchange, .. } | Outcome::Finished { exchange } = outcome
            && let Some(listening) = &mut self.listening
            && listening.asked.take_if(|asked| asked == exchange).is_some()
        {
            listening.listener.refused(now, false);
            return true;
        }
        self.fetcher.outcome(now, outcome)
    }

    /// Takes what the store has done, if it concerns this download.
    pub fn flashed(&mut self, now: Instant, done: &Done) {
        let Place::Extent { id, is_ready, writing } = &mut self.place else { return };
        match done {
            Done::Ready(ready) if ready == id => *is_ready = true,
            Done::Written(written) if written == id => {
                if let Some(piece) = writing.take() {
                    self.fetcher.handle(now, Input::Written { piece });
                }
            }
            Done::WriteFailed(failed) if failed == id => {
                if let Some(piece) = writing.take() {
                    self.fetcher.handle(now, Input::WriteFailed { piece });
                }
            }
            _ => return,
        }
        self.has_more = Some(now);
    }

    /// Asks, writes and reads back what is due; to be called until there is nothing. The work is
    /// bounded by a digest over a few pieces.
    pub fn poll(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        out: &mut dyn Outbox<Peer>,
    ) -> Option<Step> {
        self.has_more = None;
        if matches!(self.place, Place::Extent { is_ready: false, .. }) {
            return None;
        }
        if core::mem::take(&mut self.is_left) {
            return Some(Step::Unsaid);
        }
        let mut reads = 0;
        loop {
            self.hear(now);
            self.write(now, flash, store);
            let Some(step) = self.fetcher.poll(now, out) else {
                self.await_said();
                return None;
            };
            match step {
                FetchStep::Write { piece, bytes, .. } => {
                    if let Place::Ram(document) = &mut self.place {
                        document.clear();
                        document.extend_from_slice(bytes);
                        self.fetcher.handle(now, Input::Written { piece });
                    } else {
                        // There are as many places as buffers of the fetcher's.
                        let _ = self.verified.push(piece);
                    }
                }
                FetchStep::Read { offset, len } => {
                    self.read(now, flash, store, offset, len);
                    reads += 1;
                    if reads == READS {
                        self.has_more = Some(now);
                        return None;
                    }
                }
                FetchStep::Dropped { peer, .. }
                    if self.listening.as_ref().is_some_and(|it| it.everybody == peer) =>
                {
                    self.leave(now, out);
                    self.is_left = false;
                    return Some(Step::Unsaid);
                }
                FetchStep::Dropped { peer, reason } => return Some(Step::Dropped { peer, reason }),
                FetchStep::Stalled { .. } => return Some(Step::Stalled),
                FetchStep::Ended(result) => return Some(Step::Ended(result)),
            }
        }
    }

    /// When to poll again although nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.place, Place::Extent { is_ready: false, .. }) {
            return None;
        }
        let listening = self.listening.as_ref().and_then(|it| it.listener.poll_timeout());
        self.has_more.into_iter().chain(self.fetcher.poll_timeout()).chain(listening).min()
    }

    /// Takes back the requests that are in flight, before the download is dropped.
    pub fn cancel(&mut self, now: Instant, out: &mut dyn Outbox<Peer>) {
        self.leave(now, out);
        self.fetcher.abandon();
        while self.fetcher.poll(now, out).is_some() {}
    }

    /// Hands the store a verified piece, if it can take one now.
    fn write(&mut self, now: Instant, flash: &[u8], store: &mut Store) {
        let Place::Extent { id, writing: writing @ None, .. } = &mut self.place else { return };
        let Some(piece) = self.verified.first().copied() else { return };
        let Some(bytes) = self.fetcher.fetch().unwritten(piece) else {
            self.verified.remove(0);
            return;
        };
        match store.write_piece(flash, *id, piece, bytes) {
            Ok(()) => {
                *writing = Some(piece);
                self.verified.remove(0);
            }
            Err(crate::flash::Error::Busy) => {}
            Err(_) => {
                self.verified.remove(0);
                self.fetcher.handle(now, Input::WriteFailed { piece });
            }
        }
    }

    fn read(&mut self, now: Instant, flash: &[u8], store: &Store, offset: u32, len: u16) {
        let bytes = match &self.place {
            // A document is one piece.
            Place::Ram(document) => document.get(..usize::from(len)),
            Place::Extent { id, .. } => store.stored(flash, *id, offset, u32::from(len)),
        };
        self.fetcher.handle(
            now,
            match bytes {
                Some(bytes) => Input::Read { offset, bytes },
                None => Input::ReadFailed { offset },
            },
        );
    }
}

/// Asks somebody in a session to say a blob to all on the link.
fn ask_to_say(
    now: Instant,
    out: &mut dyn Outbox<Peer>,
    peer: Peer,
    digest: &Digest,
    lacks: &[Lack],
) -> Option<ExchangeId> {
    let mut room = [0; LACK * limits::LACKS];
    let lacks = write_lacks(lacks, &mut room)?;
    let mut build = |writer: &mut MessageWriter<'_>| {
        writer.path(PREFIX)?.path(Name::of(digest).as_str())?.payload(lacks)?;
        Ok(())
    };
    out.request(now, peer, Reliability::Confirmable, Code::POST, &mut build).ok()
}
