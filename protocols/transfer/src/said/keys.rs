//! What hides a blob from those who do not know its digests.
//!
//! Its digests are only ever said in sessions. From them come the blob's name on the air, a key for its
//! parts and one for requests, so that who is not of the site can neither read nor forge any of them, nor tell
//! which blob it is.
//!
//! Parts are sealed *convergently*: their nonce is which part of which piece they are, and however many
//! parts of what size there are of it, so that a key and a nonce always go with the same text, whoever seals
//! it. A nonce that is used again is used for the same and gives nothing away. Requests say different things,
//! and have a salt as their nonce and a key of their own, which all share who want the blob: a salt of 64 bits
//! that is drawn evenly is not drawn twice. Were it, an eavesdropper would learn in what two lists of pieces
//! differ; it could forge nothing.
//!
//! That a blob is the one somebody guesses it to be can be found out by whoever has its bytes already: that
//! is what convergent encryption gives up.

use capmesh_oscore::{aead, kdf};
use capmesh_wire::Digest;
use capmesh_wire::said::{Ask, Part, Tag};

/// The keys of a blob.
#[derive(Clone, Copy)]
pub struct Keys {
    tag: Tag,
    part: [u8; aead::KEY_LEN],
    ask: [u8; aead::KEY_LEN],
}

impl Keys {
    /// Those of the blob with this digest and this root. A document's root is its digest.
    #[must_use]
    pub fn new(digest: &Digest, root: &Digest) -> Self {
        let secret = kdf::extract(digest.as_bytes(), root.as_bytes());
        let mut keys = Self { tag: [0; 4], part: [0; 16], ask: [0; 16] };
        kdf::expand(&secret, &[&[b"capmesh said tag"]], &mut keys.tag);
        kdf::expand(&secret, &[&[b"capmesh said part"]], &mut keys.part);
        kdf::expand(&secret, &[&[b"capmesh said ask"]], &mut keys.ask);
        keys
    }

    /// The blob's name on the air.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.tag
    }

    /// Seals a part's text in place.
    pub(super) fn seal_part(&self, part: &Part<'_>, text: &mut [u8]) -> Option<[u8; 8]> {
        let nonce = part_nonce(part, text.len());
        aead::seal_again(&self.part, &nonce, &part.head(), text)
    }

    /// Opens a part into `room`. `None` if it is not of this blob, or too long.
    #[must_use]
    pub fn open_part<'b>(&self, part: &Part<'_>, room: &'b mut [u8]) -> Option<&'b [u8]> {
        if part.blob != self.tag {
            return None;
        }
        let (text, tag) = unpack(part.sealed, room)?;
        aead::open(&self.part, &part_nonce(part, text.len()), &part.head(), text, &tag)?;
        Some(text)
    }

    /// Seals a request's text in place.
    pub(super) fn seal_ask(&self, ask: &Ask<'_>, text: &mut [u8]) -> Option<[u8; 8]> {
        aead::seal(&self.ask, &ask_nonce(ask), &ask.head(), text)
    }

    /// Opens a request into `room`.
    #[must_use]
    pub fn open_ask<'b>(&self, ask: &Ask<'_>, room: &'b mut [u8]) -> Option<&'b [u8]> {
        if ask.blob != self.tag {
            return None;
        }
        let (text, tag) = unpack(ask.sealed, room)?;
        aead::open(&self.ask, &ask_nonce(ask), &ask.head(), text, &tag)?;
        Some(text)
    }
}

/// The text as it is sealed, in `room`, and its tag.
fn unpack<'b>(sealed: &[u8], room: &'b mut [u8]) -> Option<(&'b mut [u8], [u8; aead::TAG_LEN])> {
    let (text, tag) = sealed.split_last_chunk()?;
    let room = room.get_mut(..text.len())?;
    room.copy_from_slice(text);
    Some((room, *tag))
}

fn part_nonce(part: &Part<'_>, size: usize) -> [u8; aead::NONCE_LEN] {
    let [piece_high, piece_low] = part.piece.to_be_bytes();
    let [size_high, size_low] = u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes();
    let said = [piece_high, piece_low, part.number, part.of, size_high, size_low];
    padded(&said)
}

fn ask_nonce(ask: &Ask<'_>) -> [u8; aead::NONCE_LEN] {
    padded(&ask.salt)
}

fn padded(bytes: &[u8]) -> [u8; aead::NONCE_LEN] {
    let mut nonce = [0; aead::NONCE_LEN];
    nonce.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    nonce
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").field("tag", &self.tag).finish_non_exhaustive()
    }
}
