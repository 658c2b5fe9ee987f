//! Blobs that are said to all on a link at once.
//!
//! On a radio, what one sends takes the air from all that hear it. To bring a blob to fifty nodes one by one
//! takes fifty times as long as to one; to *say* it takes about as long as that. Who has the blob says its
//! pieces in *parts* that fit a frame; who wants it listens, and says what it lacks when it has become quiet.
//! (In the manner of Deluge, Hui and Culler, 2004, with what Rateless Deluge, Hagedorn et al., 2008, added.)
//!
//! # What is said
//! [`capmesh_wire::said`] has the bytes: parts, and requests that name pieces and how many parts of them are
//! lacking. Any so many parts make a piece ([`Parts`]), so that those who lack different ones are helped by
//! the same, one request stands for all who lack as much or less, and who hears one keeps silent.
//!
//! # Who says it
//! [`Speaker`]: those whom a member asked to in a session ([`BlobResource`](crate::BlobResource), POST), and
//! nodes that have had the blob said to them lately. What was never said a registry says at once; all else is
//! left to neighbours, for whom a part costs the same and whose link is not everybody's.
//!
//! # Who can read and forge it
//! Those who know the blob's digests, which are said in sessions only: [`Keys`]. Somebody else who repeats a
//! request that was heard can have holders speak: no faster than their pace, no more than
//! [`Speaker`]'s bounds, and only as long as the blob is being said anyway.

mod code;
mod frame;
mod keys;
mod speaker;
#[cfg(test)]
mod tests;

pub use code::Parts;
pub use frame::{AROUND, Heard, read, write_ask, write_lacks};
pub use keys::Keys;
pub use speaker::{CROWD, Config, PIECE, Rank, Refused, Speaker};
