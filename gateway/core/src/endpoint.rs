//! The gateway's endpoint: sessions with everybody on the roster, by the size of the site.

use capmesh_coap::endpoint::{Config as EndpointConfig, Endpoint};
use capmesh_session::edhoc::Identity;
use capmesh_session::{
    Config as SessionConfig, Entry, Link, Replaceable, Roster as Lookup, SecureEndpoint, Sessions,
};
use capmesh_wire::{Instant, Roster};
use core::fmt;
use core::time::Duration;
use rand_core::{CryptoRng, RngCore};

/// The longest datagram, in bytes: what IPv6 carries everywhere.
pub const MTU: usize = 1280;

/// How large the tables are: with each node there are a session and three observations, which stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Up to 100 nodes: less than 1 MB.
    #[default]
    Small,
    /// Up to 1,000 nodes: 3 MB.
    Large,
}

impl Size {
    /// Batches of `every` wires that may wait for their commit: fewer than there are requests that can be
    /// answered later, so that what comes then is refused with a time to try again, and not passed over in
    /// silence.
    #[must_use]
    pub const fn held(self) -> usize {
        match self {
            Self::Small => 256,
            Self::Large => 2_048,
        }
    }
}

/// Requests that are not answered, of each size.
const SMALL: usize = 320;
const LARGE: usize = 2_560;
const _: () = assert!(Size::Small.held() < SMALL && Size::Large.held() < LARGE);

// Most messages that wait are short: the request of an observation takes less than 100 bytes.
type Small<G> =
    SecureEndpoint<Sessions<Members, G, 128, 16>, MTU, 512, 131_072, SMALL, 16, 2_048, 131_072>;
type Large<G> =
    SecureEndpoint<Sessions<Members, G, 1_024, 64>, MTU, 4_096, 524_288, LARGE, 16, 8_192, 262_144>;

/// Makes an endpoint. It is put together on the stack, several times over in a build without
/// optimisation, before it moves to the heap: a thread that makes a small one needs 16 MB of stack, a
/// large one 128 MB.
#[must_use]
pub fn make<G>(now: Instant, identity: Identity, mut rng: G, size: Size) -> Box<dyn Link>
where
    G: RngCore + CryptoRng + 'static,
{
    let mut seed = [0; 16];
    rng.fill_bytes(&mut seed);
    let config = EndpointConfig { nstart: 8, ..EndpointConfig::default() };
    // Nodes that were off are found again soon after they are back.
    let sessions = SessionConfig { retry_max: Duration::from_secs(4), ..SessionConfig::for_host() };
    match size {
        Size::Small => {
            let sessions = Sessions::new(now, sessions, identity, Members::default(), rng);
            Box::<Small<G>>::new(SecureEndpoint::new(Endpoint::new(config, sessions, seed)))
        }
        Size::Large => {
            let sessions = Sessions::new(now, sessions, identity, Members::default(), rng);
            Box::<Large<G>>::new(SecureEndpoint::new(Endpoint::new(config, sessions, seed)))
        }
    }
}

/// The members of the site, as sessions look them up: the roster's own encoding.
#[derive(Clone, Default)]
pub struct Members(Vec<u8>);

impl Replaceable for Members {
    fn replace(&mut self, roster: &Roster<'_>) {
        self.0.clear();
        self.0.extend_from_slice(roster.as_bytes());
    }
}

impl Lookup for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        Lookup::find(&Roster::from_trusted(&self.0).ok()?, kid)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members({} bytes)", self.0.len())
    }
}
