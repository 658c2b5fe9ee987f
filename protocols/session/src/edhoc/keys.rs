//! Keys: ephemeral ones before a handshake, what it leaves behind afterwards.

use super::cbor::Reader;
use super::dh::public_of;
use super::message::{read_ciphertext, read_ead};
use super::schedule::{Hash, Prk, label};
use super::{ConnectionId, MAX_MESSAGE, Refusal, Text};
use core::fmt;
use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key pair for one handshake, wiped when dropped.
pub struct EphemeralKey {
    pub(super) private: [u8; 32],
    pub(super) public: [u8; 32],
}

impl EphemeralKey {
    /// A fresh key pair. `rng` is asked for 32 bytes until they are a scalar, which the first ones
    /// are but for one time in 2^32.
    #[must_use]
    #[inline(never)]
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut key = Self { private: [0; 32], public: [0; 32] };
        loop {
            rng.fill_bytes(&mut key.private);
            if let Ok(public) = public_of(&key.private) {
                key.public = public;
                return key;
            }
        }
    }
}

impl Drop for EphemeralKey {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EphemeralKey")
    }
}

/// What OSCORE is set up with (RFC 9528 appendix A.1), wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct OscoreKeys {
    /// The OSCORE Master Secret.
    pub master_secret: [u8; 16],
    /// The OSCORE Master Salt.
    pub master_salt: [u8; 8],
    /// What the other side chose: our Sender ID.
    #[zeroize(skip)]
    pub sender_id: ConnectionId,
    /// What we chose: our Recipient ID.
    #[zeroize(skip)]
    pub recipient_id: ConnectionId,
}

impl fmt::Debug for OscoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OscoreKeys({:?} -> {:?})", self.sender_id, self.recipient_id)
    }
}

/// A finished handshake: the other side has proved who it is.
pub struct Completed {
    pub(super) prk_4e3m: Prk,
    pub(super) th_4: Hash,
    pub(super) prk_exporter: Prk,
    pub(super) ours: ConnectionId,
    pub(super) theirs: ConnectionId,
}

impl Completed {
    /// PRK_out and PRK_exporter (sections 4.1.3 and 4.2.1).
    pub(super) fn new(prk_4e3m: Prk, th_4: Hash, ours: ConnectionId, theirs: ConnectionId) -> Self {
        let prk_out = prk_4e3m.next(label::PRK_OUT, &th_4);
        let mut prk_exporter = Prk([0; 32]);
        prk_out.derive(label::PRK_EXPORTER, &[], &mut prk_exporter.0);
        Self { prk_4e3m, th_4, prk_exporter, ours, theirs }
    }

    /// EDHOC_Exporter of the OSCORE keys (RFC 9528 section 4.2.1 and appendix A.1).
    #[must_use]
    pub fn oscore_keys(&self) -> OscoreKeys {
        let mut keys = OscoreKeys {
            master_secret: [0; 16],
            master_salt: [0; 8],
            sender_id: self.theirs,
            recipient_id: self.ours,
        };
        self.export(0, &mut keys.master_secret);
        self.export(1, &mut keys.master_salt);
        keys
    }

    /// EDHOC_Exporter with an empty context (RFC 9528 section 4.2.1). Labels 0 and 1 are OSCORE's;
    /// this takes those up to 23, and at most 255 bytes.
    pub fn export(&self, label: u8, out: &mut [u8]) {
        self.prk_exporter.derive(label.min(23), &[], out);
    }

    /// As responder: writes message_4 to `out` and returns its length. It tells an initiator that has
    /// nothing to ask yet that the responder has the keys.
    ///
    /// # Errors
    /// If it does not fit (it takes nine bytes).
    #[inline(never)]
    pub fn compose_message_4(&self, out: &mut [u8]) -> Result<usize, Refusal> {
        let tag = self.prk_4e3m.seal([label::K_4, label::IV_4], &self.th_4, &mut [])?;
        write(&[&[0x48], &tag], out)
    }

    /// As initiator: verifies message_4.
    ///
    /// # Errors
    /// If it is not the responder's.
    #[inline(never)]
    pub fn verify_message_4(&self, message: &[u8]) -> Result<(), Refusal> {
        let (ciphertext, tag) = read_ciphertext(message)?;
        let mut text = Text::from_slice(ciphertext).map_err(|_| Refusal::TooLong)?;
        self.prk_4e3m.open([label::K_4, label::IV_4], &self.th_4, &mut text, tag)?;
        read_ead(&mut Reader::new(&text))
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Completed({:?}, {:?})", self.ours, self.theirs)
    }
}

/// Writes `parts` to the front of `out`, one after the other, and returns their length.
pub(super) fn write(parts: &[&[u8]], out: &mut [u8]) -> Result<usize, Refusal> {
    let mut at = 0;
    for part in parts {
        let end = at + part.len();
        out.get_mut(at..end).ok_or(Refusal::TooLong)?.copy_from_slice(part);
        at = end;
    }
    if at > MAX_MESSAGE { Err(Refusal::TooLong) } else { Ok(at) }
}
