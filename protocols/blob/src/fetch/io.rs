//! What goes into a [`Fetch`](super::Fetch) and what comes out of it.

use core::fmt;
use core::time::Duration;

/// Stands for "which pieces do you have?" where a piece number is asked for or answered.
pub const HOLDINGS: u16 = u16::MAX;

/// The shortest part of a piece that is not its last: the smallest block of RFC 7959. Shorter ones
/// would let a peer make a piece arbitrarily many requests long.
pub const MIN_PART: usize = 16;

/// Times and limits of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a peer may take to answer one request at most before its piece is asked for elsewhere:
    /// all of that if nobody else has the piece, else as much of it, from a quarter on, as answers have
    /// been seen to need. A piece that comes in several parts may take four times as long in all.
    pub request_timeout: Duration,
    /// How long a peer rests after a time-out; doubled with each further one.
    pub backoff: Duration,
    /// The longest rest, also where a peer that is busy names a longer one.
    pub backoff_max: Duration,
    /// How long after it said which pieces it has a peer that lacks some is asked again.
    pub refresh: Duration,
    /// How long the transfer may go without a piece written or read back before it fails.
    pub give_up: Duration,
    /// The most requests in flight to one peer.
    pub peer_window: u8,
}

impl Default for Config {
    /// Times for confirmable requests over CoAP with its default transmission parameters, where a
    /// request with three lost transmissions is answered within 21 seconds (RFC 7252 section 4.8).
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(22),
            backoff: Duration::from_secs(2),
            backoff_max: Duration::from_secs(60),
            refresh: Duration::from_secs(15),
            give_up: Duration::from_secs(600),
            peer_window: 4,
        }
    }
}

/// What is known beforehand of the pieces that a peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holdings {
    /// Nothing: the peer is asked before anything else.
    Unknown,
    /// All of them, as with the registry that the blob was pushed to.
    Whole,
}

/// Whether pieces that an earlier run wrote are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Chunks are believed, because each was recorded after its write was acknowledged. Pages are
    /// read back and verified all the same, as what is fetched next is verified against them.
    Recorded,
    /// Every piece is read back and verified, and fetched again if it is not what it should be.
    Nothing,
}

/// Why a peer did not give what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It lacks the piece, or the whole blob where it was asked for its holdings (4.04).
    NotFound,
    /// It had the blob and does not any more, or will not tell: do not ask again (4.10, 4.01, 4.03).
    Gone,
    /// It asks to be left alone for this long (5.03 with Max-Age).
    Busy(Duration),
    /// The request did not get through, or the answer made no sense.
    Failed,
}

/// What a [`Fetch`](super::Fetch) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a, P> {
    /// `peer` may be asked from now on. When the table of peers is full, one that was dropped or has
    /// not answered its last three requests makes room, else the new one is ignored and counted.
    PeerUp {
        /// Who.
        peer: P,
        /// Peers of a lower rank are asked first: one of a higher rank only for pieces that no
        /// peer of a lower rank has. Neighbours are 0; a gateway or registry, whose link everyone
        /// shares, is higher. One that did not answer comes after all others until it answers again.
        rank: u8,
        /// What it has.
        holdings: Holdings,
    },
    /// `peer` is not reachable any more. Requests in flight to it are asked elsewhere.
    PeerDown {
        /// Who.
        peer: P,
    },
    /// `peer` says that it has pieces; it may have others that it has said before.
    Announce {
        /// Who.
        peer: P,
        /// The piece that the first bit stands for, a multiple of eight.
        first: u16,
        /// One bit for each piece from `first` on, the first in the most significant bit.
        pieces: &'a [u8],
    },
    /// Part of a piece has arrived in answer to a request; all of it, if it fits a datagram.
    Part {
        /// Who sent it.
        peer: P,
        /// The piece, or [`HOLDINGS`].
        piece: u16,
        /// Where in the piece the part begins, in bytes.
        offset: u16,
        /// The part.
        bytes: &'a [u8],
        /// Whether the peer says that nothing follows.
        last: bool,
    },
    /// A request was not answered with bytes.
    Refused {
        /// Who refused.
        peer: P,
        /// What was asked for.
        piece: u16,
        /// Why.
        refusal: Refusal,
    },
    /// What was asked for with [`Output::Read`].
    Read {
        /// Where it was read, in bytes from the start of the stored blob.
        offset: u32,
        /// As many bytes as were asked for.
        bytes: &'a [u8],
    },
    /// [`Output::Read`] could not be done. It is tried again, three times in a row at most.
    ReadFailed {
        /// Where.
        offset: u32,
    },
    /// [`Output::Write`] is done: the bytes survive a power cut.
    Written {
        /// The piece.
        piece: u16,
    },
    /// [`Output::Write`] could not be done. It is tried again, three times in a row at most.
    WriteFailed {
        /// The piece.
        piece: u16,
    },
}

/// What a [`Fetch`](super::Fetch) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<'a, P> {
    /// Ask `peer` for a piece. The answer is an [`Input::Part`] or an [`Input::Refused`].
    Request {
        /// Whom.
        peer: P,
        /// The piece, or [`HOLDINGS`].
        piece: u16,
        /// From which byte of it on: what came before has arrived.
        offset: u16,
    },
    /// An answer to this request is not waited for any more.
    Cancel {
        /// Who was asked.
        peer: P,
        /// For what.
        piece: u16,
    },
    /// Write a verified piece.
    Write {
        /// The piece, to be named in [`Input::Written`].
        piece: u16,
        /// Where to, in bytes from the start of the stored blob.
        offset: u32,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Read back what was written.
    Read {
        /// Where, in bytes from the start of the stored blob.
        offset: u32,
        /// How many bytes.
        len: u16,
    },
    /// `peer` is not asked for this blob any more.
    Dropped {
        /// Who.
        peer: P,
        /// Why.
        reason: DropReason,
    },
    /// Nobody who is known has what is missing. The transfer goes on when someone has, and fails
    /// after [`Config::give_up`]. Said once until the next piece is asked for.
    Stalled {
        /// How many pieces are missing, as far as it is known which there are.
        missing: u16,
    },
    /// The blob is written whole and its digest is right. Nothing follows.
    Done,
    /// The transfer has ended without the blob. Nothing follows; what was written stays good for
    /// [`Fetch::resume`](super::Fetch::resume).
    Failed(Failure),
}

/// Why a peer is not asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It has said so ([`Refusal::Gone`]).
    Gone,
    /// It has sent pieces whose digest was wrong, more often than an accident would explain.
    Corrupt,
}

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was written or read for [`Config::give_up`].
    NoProgress,
    /// Storage has failed three times in a row.
    Storage,
    /// Every piece is right and the whole is not: whoever made the pages did not make them from the
    /// blob of this digest.
    WrongDigest,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProgress => "no piece has arrived for too long",
            Self::Storage => "storage has failed three times in a row",
            Self::WrongDigest => "the pieces are right and do not make the blob of this digest",
        })
    }
}

impl core::error::Error for Failure {}

/// What has happened during a transfer. Counters stop at their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests for pieces or parts of them.
    pub requests: u16,
    /// Pieces that were verified.
    pub verified: u16,
    /// Pieces whose digest or length was wrong.
    pub corrupt: u16,
    /// Requests that timed out or did not get through.
    pub failed: u16,
    /// Answers to nothing that was asked, or to what has been answered.
    pub unsolicited: u16,
    /// Pieces that arrived while no buffer was free, to be asked for again.
    pub overruns: u16,
    /// Stored pieces that were not what they should be, to be fetched again.
    pub mended: u16,
    /// Peers that there was no room for.
    pub peers_ignored: u16,
}

impl Counters {
    pub(super) fn count(counter: &mut u16) {
        *counter = counter.saturating_add(1);
    }
}
