//! Keys: ephemeral ones before a handshake, what it leaves behind afterwards.

use super::message::check_ciphertext;
use super::suite2::{Step, Suite2};
use super::{ConnectionId, Refusal};
use core::fmt;
use lakers::{
    BufferMessage4, Completed as LakersCompleted, MAX_KDF_CONTEXT_LEN, ProcessedM3, WaitM4,
};
use p256::elliptic_curve::point::AffineCoordinates;
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
        let secret = p256::SecretKey::random(rng);
        Self {
            private: secret.to_bytes().into(),
            public: secret.public_key().as_affine().x().into(),
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
    pub(super) prk_4e3m: [u8; 32],
    pub(super) th_4: [u8; 32],
    pub(super) prk_out: [u8; 32],
    pub(super) prk_exporter: [u8; 32],
    pub(super) ours: ConnectionId,
    pub(super) theirs: ConnectionId,
}

impl Completed {
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

    /// EDHOC_Exporter with an empty context (RFC 9528 section 4.2.1). Labels 0 and 1 are OSCORE's,
    /// 32768 and up are private; this takes those that lakers does, up to 23, and at most 255 bytes.
    #[inline(never)]
    pub fn export(&self, label: u8, out: &mut [u8]) {
        let state = LakersCompleted { prk_out: self.prk_out, prk_exporter: self.prk_exporter };
        let mut state = Secret(state);
        let context = [0; MAX_KDF_CONTEXT_LEN];
        let crypto = &mut Suite2::new(Step::Compose, &[]);
        let mut bytes = lakers::edhoc_exporter(
            &state.0,
            crypto,
            label.min(23),
            &context,
            0,
            out.len().min(255),
        );
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        bytes.zeroize();
        state.wipe();
    }

    /// As responder: writes message_4 to `out` and returns its length. It tells an initiator that has
    /// nothing to ask yet that the responder has the keys.
    ///
    /// # Errors
    /// If it does not fit (it takes nine bytes).
    #[inline(never)]
    pub fn compose_message_4(&self, out: &mut [u8]) -> Result<usize, Refusal> {
        let mut state = Secret(ProcessedM3 {
            prk_4e3m: self.prk_4e3m,
            th_4: self.th_4,
            prk_out: self.prk_out,
            prk_exporter: self.prk_exporter,
        });
        let mut crypto = Suite2::new(Step::Compose, &[]);
        let composed = lakers::r_prepare_message_4(&state.0, &mut crypto, &None);
        state.wipe();
        let (completed, message) = crypto.check(composed)?;
        Secret(completed).wipe();
        copy(message.as_slice(), out)
    }

    /// As initiator: verifies message_4.
    ///
    /// # Errors
    /// If it is not the responder's.
    #[inline(never)]
    pub fn verify_message_4(&self, message: &[u8]) -> Result<(), Refusal> {
        check_ciphertext(message)?;
        let buffer = BufferMessage4::new_from_slice(message).map_err(|_| Refusal::TooLong)?;
        let mut state = Secret(WaitM4 {
            prk_4e3m: self.prk_4e3m,
            th_4: self.th_4,
            prk_out: self.prk_out,
            prk_exporter: self.prk_exporter,
        });
        let mut crypto = Suite2::new(Step::Receive4, &[]);
        let verified = lakers::i_process_message_4(&mut state.0, &mut crypto, &buffer);
        state.wipe();
        let (completed, _) = crypto.check(verified)?;
        Secret(completed).wipe();
        Ok(())
    }
}

impl Drop for Completed {
    fn drop(&mut self) {
        self.prk_4e3m.zeroize();
        self.prk_out.zeroize();
        self.prk_exporter.zeroize();
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Completed({:?}, {:?})", self.ours, self.theirs)
    }
}

/// A state of lakers', which does not wipe its secrets itself.
pub(super) struct Secret<T: Wipe>(pub(super) T);

/// Overwrites the secrets of a state of lakers'.
pub(super) trait Wipe {
    /// Overwrites them.
    fn wipe_secrets(&mut self);
}

impl<T: Wipe> Secret<T> {
    /// Wipes now rather than at the end of the scope.
    pub(super) fn wipe(&mut self) {
        self.0.wipe_secrets();
    }
}

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe_secrets();
    }
}

macro_rules! wipe {
    ($($state:ty: $($field:ident),*;)*) => {
        $(impl Wipe for $state {
            fn wipe_secrets(&mut self) {
                $(self.$field.zeroize();)*
            }
        })*
    };
}

wipe! {
    lakers::InitiatorStart: x;
    lakers::WaitM2: x;
    lakers::ProcessingM1: y;
    lakers::ProcessingM2: x, prk_2e;
    lakers::ProcessedM2: prk_3e2m, prk_4e3m;
    lakers::WaitM3: y, prk_3e2m;
    lakers::ProcessingM3: y, prk_3e2m;
    ProcessedM3: prk_4e3m, prk_out, prk_exporter;
    WaitM4: prk_4e3m, prk_out, prk_exporter;
    LakersCompleted: prk_out, prk_exporter;
}

/// Copies `message` to the front of `out` and returns its length.
pub(super) fn copy(message: &[u8], out: &mut [u8]) -> Result<usize, Refusal> {
    out.get_mut(..message.len()).ok_or(Refusal::TooLong)?.copy_from_slice(message);
    Ok(message.len())
}
