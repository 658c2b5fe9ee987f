//! The Echo option (RFC 9175 section 2) without a state per client.
//!
//! A server that wants to know that a request is fresh, or that its sender receives at the address
//! that it came from, answers 4.01 (Unauthorized) with a value made by [`EchoKey::challenge`]; the
//! client repeats the request with the value, and [`EchoKey::verify`] tells whether it is one that
//! this server gave to that address, and how old it is. The value is the time it was made at and a
//! MAC over that time and the address, as in RFC 9175 appendix A, item 2.
//!
//! The client's side is in the [endpoint](crate::endpoint), which repeats a request by itself when
//! it is challenged.

use crate::endpoint::hash::Secret;
use capmesh_wire::Instant;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

/// The value of an Echo option as this side makes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EchoValue([u8; Self::LEN]);

impl EchoValue {
    /// The length of a value, in bytes.
    pub const LEN: usize = TIME_LEN + MAC_LEN;

    /// The option's value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EchoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EchoValue({:02x?})", self.0)
    }
}

const TIME_LEN: usize = 4;
const MAC_LEN: usize = 8;

/// Why a value proves nothing. Either calls for another challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoError {
    /// It was not made by this server for this client: forged, for another address, or from before
    /// the key changed.
    Foreign,
    /// It is too old.
    Stale,
}

impl fmt::Display for EchoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the Echo value was not made for this client",
            Self::Stale => "the Echo value is too old",
        })
    }
}

impl core::error::Error for EchoError {}

/// The key that a server makes Echo values with.
///
/// The MAC is SipHash-2-4: 64 bits under a key of 128. Guessing one takes 2^63 requests on average,
/// each of which is answered to the address that it claims to come from.
#[derive(Clone)]
pub struct EchoKey([u8; 16]);

impl EchoKey {
    /// A key of 16 bytes of a cryptographically secure generator, fresh at every start: the clock
    /// starts anew too.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// A value for `client`, made `now`.
    #[must_use]
    pub fn challenge(&self, now: Instant, client: SocketAddr) -> EchoValue {
        let time = ticks(now).to_be_bytes();
        let [a, b, c, d] = time;
        let [e, f, g, h, i, j, k, l] = self.mac(time, client).to_be_bytes();
        EchoValue([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// Checks a value that came from `client`, and says how long ago it was made, to within 66 ms.
    ///
    /// # Errors
    /// If it was not made by this key for this address, or more than `max_age` ago.
    pub fn verify(
        &self,
        now: Instant,
        client: SocketAddr,
        value: &[u8],
        max_age: Duration,
    ) -> Result<Duration, EchoError> {
        let &[a, b, c, d, ref mac @ ..] = value else { return Err(EchoError::Foreign) };
        let mac: [u8; MAC_LEN] = mac.try_into().map_err(|_| EchoError::Foreign)?;
        let time = [a, b, c, d];
        // One comparison of one word: it takes the same time wherever the difference is.
        if u64::from_be_bytes(mac) ^ self.mac(time, client) != 0 {
            return Err(EchoError::Foreign);
        }
        let age = ticks(now).wrapping_sub(u32::from_be_bytes(time));
        let age = Duration::from_micros(u64::from(age) << TICK_SHIFT);
        if age > max_age { Err(EchoError::Stale) } else { Ok(age) }
    }

    /// A name of an address that nobody else can find another address for.
    pub(crate) fn name(&self, client: SocketAddr) -> u64 {
        Secret::new(self.0).address(client).bits()
    }

    fn mac(&self, time: [u8; TIME_LEN], client: SocketAddr) -> u64 {
        let time = u64::from(u32::from_be_bytes(time));
        Secret::new(self.0).hash(&[self.name(client), time])
    }
}

impl fmt::Debug for EchoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EchoKey(..)")
    }
}

/// Time is told in ticks of 65,536 us: a shift instead of a division, and 8.9 years until it wraps.
const TICK_SHIFT: u32 = 16;

fn ticks(now: Instant) -> u32 {
    let [_, _, a, b, c, d, _, _] = now.as_micros().to_be_bytes();
    const { assert!(TICK_SHIFT == 16) };
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const KEY: EchoKey = EchoKey::new([7; 16]);
    const AGE: Duration = Duration::from_secs(10);

    fn client(port: u16) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, 1), port).into()
    }

    #[test]
    fn a_value_is_fresh_for_a_while_and_for_its_client_only() {
        let made = Instant::from_secs(1_000);
        let value = KEY.challenge(made, client(1));
        let verify = |after, port| {
            KEY.verify(made + Duration::from_millis(after), client(port), value.as_bytes(), AGE)
        };
        assert!(verify(0, 1).unwrap() < Duration::from_millis(66));
        assert!(verify(9_900, 1).is_ok());
        assert_eq!(verify(10_200, 1), Err(EchoError::Stale));
        assert_eq!(verify(0, 2), Err(EchoError::Foreign));
        let elsewhere = (Ipv6Addr::LOCALHOST, 1).into();
        let verdict = KEY.verify(made, elsewhere, value.as_bytes(), AGE);
        assert_eq!(verdict, Err(EchoError::Foreign));
    }

    #[test]
    fn whatever_was_changed_is_foreign() {
        let now = Instant::from_secs(5);
        let value = KEY.challenge(now, client(1));
        for bit in 0..EchoValue::LEN * 8 {
            let mut bytes = value.0;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(KEY.verify(now, client(1), &bytes, AGE), Err(EchoError::Foreign));
        }
        for len in 0..EchoValue::LEN {
            let cut = &value.as_bytes()[..len];
            assert_eq!(KEY.verify(now, client(1), cut, AGE), Err(EchoError::Foreign));
        }
        let other = EchoKey::new([8; 16]);
        assert_eq!(other.verify(now, client(1), value.as_bytes(), AGE), Err(EchoError::Foreign));
    }
}
