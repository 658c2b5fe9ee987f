//! Identifiers and counters.

use crate::cbor::{Decode, Encode, Reader, Writer};
use crate::digest::Digest;
use core::fmt;
use core::str::FromStr;

/// Who a key belongs to: the first 8 bytes of the SHA-256 of the key's x-coordinate.
///
/// It is the `kid` of the CCS credential, so EDHOC carries it and the roster is looked up by it; and
/// it names the node everywhere else. Only the x-coordinate counts because EDHOC's static
/// Diffie-Hellman keys authenticate no more than that (RFC 9528 section 3.7).
///
/// Eight bytes: two of a million keys meet by chance with a probability of 3 in 10^8, and a roster
/// with two equal ids is refused; to take over an id that is on a roster takes 2^64 key pairs, and
/// is of no use, because what EDHOC checks is the whole key that the roster lists for it. `lakers`
/// reads kids of up to 16 bytes, and those of one byte may turn into integers on the way: 8 bytes
/// stay clear of both.
///
/// As text it is 13 characters of `a-z2-7` (base32 of RFC 4648, lower case, no padding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; Self::LEN]);

/// The id of a signing key (a site's, a publisher's, a gateway's): derived as a [`NodeId`] is.
pub type KeyId = NodeId;

impl NodeId {
    /// Bytes of an id.
    pub const LEN: usize = 8;

    /// Characters of an id as text.
    pub const TEXT_LEN: usize = 13;

    /// The id with this value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The id of the key with this x-coordinate.
    #[must_use]
    pub fn of_key(x: &[u8; 32]) -> Self {
        Self(Digest::of(x).prefix().0)
    }

    /// Its value: the `kid`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// What a new node prints for the person who adopts it: the first 16 bytes of the SHA-256 of its
/// key's x-coordinate, of which the first 8 are its [`NodeId`].
///
/// It is longer than the id because nothing else vouches for the key at that moment: to pass for
/// the node one would have to find a key with the same 128 bits.
///
/// As text it is 26 characters of `a-z2-7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim([u8; Self::LEN]);

impl Claim {
    /// Bytes of a claim.
    pub const LEN: usize = 16;

    /// Characters of a claim as text.
    pub const TEXT_LEN: usize = 26;

    /// The claim of the key with this x-coordinate.
    #[must_use]
    pub fn of_key(x: &[u8; 32]) -> Self {
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.iter_mut().zip(Digest::of(x).as_bytes()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The id of the node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        NodeId([a, b, c, d, e, f, g, h])
    }

    /// Its value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Text that is not the base32 form of an id or a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 13 and a claim 26 characters of a to z and 2 to 7")
    }
}

impl core::error::Error for InvalidId {}

macro_rules! key_hash {
    ($($name:ident)*) => {$(
        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; Self::LEN];
                from_base32(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; Self::TEXT_LEN];
                f.pad(to_base32(&self.0, &mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'a> Decode<'a> for $name {
            fn read(reader: &mut Reader<'a>) -> Self {
                Self(Decode::read(reader))
            }
        }

        impl Encode for $name {
            fn write(&self, writer: &mut Writer<'_>) {
                self.0.write(writer);
            }
        }
    )*};
}

key_hash!(NodeId Claim);

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Five bits a character, the last one filled up with zeros.
fn to_base32<'t>(bytes: &[u8], text: &'t mut [u8]) -> &'t str {
    for (i, character) in text.iter_mut().enumerate() {
        let at = 5 * i / 8;
        let high = u16::from(bytes.get(at).copied().unwrap_or_default()) << 8;
        let low = u16::from(bytes.get(at + 1).copied().unwrap_or_default());
        let index = (high | low) >> (11 - 5 * i % 8) & 0x1f;
        *character = BASE32.get(usize::from(index)).copied().unwrap_or_default();
    }
    core::str::from_utf8(text).unwrap_or_default()
}

fn from_base32(text: &str, bytes: &mut [u8]) -> Result<(), InvalidId> {
    if text.len() != (bytes.len() * 8).div_ceil(5) {
        return Err(InvalidId);
    }
    let (mut bits, mut held) = (0_u16, 0);
    let mut out = bytes.iter_mut();
    for character in text.bytes() {
        let value = match character {
            b'a'..=b'z' => character - b'a',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return Err(InvalidId),
        };
        bits = bits << 5 | u16::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            let [_, byte] = (bits >> held).to_be_bytes();
            *out.next().ok_or(InvalidId)? = byte;
            bits &= (1 << held) - 1;
        }
    }
    // What is left of the last character fills up and must be zero, so that an id has one form.
    if bits == 0 { Ok(()) } else { Err(InvalidId) }
}

macro_rules! counter {
    ($($(#[$meta:meta])* $name:ident($repr:ty) $label:literal;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// The one after it. It stays at the largest, which no mesh lives to see.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($label, "{}"), self.0)
            }
        }

        impl<'a> Decode<'a> for $name {
            fn read(reader: &mut Reader<'a>) -> Self {
                Self(Decode::read(reader))
            }
        }

        impl Encode for $name {
            fn write(&self, writer: &mut Writer<'_>) {
                self.0.write(writer);
            }
        }
    )*};
}

counter! {
    /// The fencing number of an instance, raised each time another node becomes its owner. Who has
    /// seen an epoch of an instance refuses everything with an older one.
    Epoch(u32) "e";
    /// The number of a message in its stream: the first is 0, it rises by one, and it goes on where
    /// it was after a migration.
    Seq(u64) "#";
    /// The version of a document that newer ones replace: a roster, a plan.
    Revision(u32) "r";
}

/// An instance of a capsule, unique in its site.
///
/// Gateways hand out the lower half of the numbers, from a counter that they keep; the upper half
/// belongs to what an operator runs on one node without a gateway, unique there only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u32);

impl InstanceId {
    /// The first of the numbers that operators hand out.
    pub const FIRST_LOCAL: Self = Self(1 << 31);

    /// Whether an operator, not a gateway, handed it out.
    #[must_use]
    pub const fn is_local(self) -> bool {
        self.0 >= Self::FIRST_LOCAL.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_local() {
            write!(f, "local-{}", self.0 - Self::FIRST_LOCAL.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{self}")
    }
}

impl<'a> Decode<'a> for InstanceId {
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(Decode::read(reader))
    }
}

impl Encode for InstanceId {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn an_id_is_the_start_of_its_claim() {
        let x = [7; 32];
        let claim = Claim::of_key(&x);
        assert_eq!(claim.node(), NodeId::of_key(&x));
        assert_eq!(claim.as_bytes(), &Digest::of(&x).as_bytes()[..16]);
        // 12 characters are 60 bits, all of them the id's.
        assert_eq!(claim.to_string()[..12], claim.node().to_string()[..12]);
    }

    #[test]
    fn base32_of_rfc_4648() {
        let mut text = [0; 10];
        assert_eq!(to_base32(b"foobar", &mut text), "mzxw6ytboi");
        let mut bytes = [0; 6];
        assert_eq!(from_base32("mzxw6ytboi", &mut bytes), Ok(()));
        assert_eq!(&bytes, b"foobar");
    }

    #[test]
    fn text_has_one_form() {
        for bad in [
            "",
            "aaaaaaaaaaaa",
            "aaaaaaaaaaaaaa",
            "aaaaaaaaaaaab",
            "Aaaaaaaaaaaaa",
            "aaaaaa1aaaaaa",
        ] {
            assert_eq!(bad.parse::<NodeId>(), Err(InvalidId), "{bad}");
        }
        assert_eq!("aaaaaaaaaaaac".parse(), Ok(NodeId([0, 0, 0, 0, 0, 0, 0, 1])));
    }

    proptest! {
        #[test]
        fn text_and_value_agree(id: [u8; 8], claim: [u8; 16]) {
            prop_assert_eq!(NodeId(id).to_string().parse(), Ok(NodeId(id)));
            prop_assert_eq!(Claim(claim).to_string().parse(), Ok(Claim(claim)));
        }
    }

    #[test]
    fn counters_stop_at_the_end() {
        assert_eq!(Epoch(1).next(), Epoch(2));
        assert_eq!(Epoch(u32::MAX).next(), Epoch(u32::MAX));
        assert_eq!(Seq(u64::MAX).next(), Seq(u64::MAX));
    }

    #[test]
    fn who_handed_out_an_instance_shows() {
        assert_eq!(InstanceId(3).to_string(), "3");
        assert_eq!(InstanceId((1 << 31) + 3).to_string(), "local-3");
    }
}
