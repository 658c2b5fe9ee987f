//! Who the node is: a key of its own, made once.

use alloc::vec::Vec;
use capmesh_session::edhoc::{self, Credential};
use capmesh_wire::{Claim, Digest, Name, NodeId, PublicKey, limits};

/// Bytes of a private key.
const PRIVATE: usize = 32;

/// How often the randomness of a key is hashed anew until it is a scalar of the curve, which the
/// first one is but for one time in 2^32.
const ATTEMPTS: u8 = 4;

/// The node's key and what it is known by. The key lies in flash as it is: who can read the flash is
/// the node.
#[derive(Clone, Debug)]
pub struct Own {
    identity: edhoc::Identity,
    public: PublicKey,
}

impl Own {
    /// Makes a key from randomness, for a node that people call `subject`. Returns what is to be
    /// kept of it, too. `None` if the randomness is none.
    pub(super) fn make(subject: Name<'_>, seed: [u8; 32]) -> Option<(Self, Vec<u8>)> {
        let mut private = seed;
        for _ in 0..ATTEMPTS {
            let mut record = private.to_vec();
            record.extend_from_slice(subject.as_str().as_bytes());
            if let Some(own) = Self::read(&record) {
                return Some((own, record));
            }
            private = *Digest::of(&private).as_bytes();
        }
        None
    }

    /// Reads what was kept.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let (private, subject) = record.split_first_chunk::<PRIVATE>()?;
        let subject = Name::new(core::str::from_utf8(subject).ok()?).ok()?;
        let (x, y) = edhoc::Identity::public_point_of(private).ok()?;
        let public = PublicKey { x, y };
        let mut ccs = [0; limits::CREDENTIAL];
        let len = capmesh_wire::Credential::encode(subject, &public, &mut ccs).ok()?;
        let credential = Credential::parse(ccs.get(..len)?).ok()?;
        let identity = edhoc::Identity::new(private, credential).ok()?;
        Some(Self { identity, public })
    }

    /// What handshakes need.
    #[must_use]
    pub const fn identity(&self) -> &edhoc::Identity {
        &self.identity
    }

    /// The credential: what the roster has to list, byte for byte.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        self.identity.credential().as_bytes()
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.public.id()
    }

    /// What is printed for the person who adopts the node.
    #[must_use]
    pub fn claim(&self) -> Claim {
        self.public.claim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let subject = Name::new("oven").unwrap();
        let (made, record) = Own::make(subject, [7; 32]).unwrap();
        let read = Own::read(&record).unwrap();
        assert_eq!(read.credential(), made.credential());
        assert_eq!(made.id(), made.claim().node());
        let credential = capmesh_wire::Credential::parse(made.credential()).unwrap();
        assert_eq!((credential.subject(), credential.id()), (subject, made.id()));
    }

    #[test]
    fn randomness_that_is_no_scalar_is_hashed() {
        let subject = Name::new("oven").unwrap();
        for seed in [[0; 32], [255; 32]] {
            let (made, record) = Own::make(subject, seed).unwrap();
            assert_ne!(record[..32], seed);
            assert_eq!(Own::read(&record).unwrap().id(), made.id());
        }
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let (_, record) = Own::make(Name::new("oven").unwrap(), [7; 32]).unwrap();
        assert!(Own::read(&record[..31]).is_none());
        assert!(Own::read(&record[..32]).is_none());
        assert!(Own::read(&[0; 36]).is_none());
    }
}
