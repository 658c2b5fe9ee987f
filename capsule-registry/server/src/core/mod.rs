//! The registry as nodes and gateways meet it: a state machine without I/O.
//!
//! It is a member of the site. Its capsules are lent to each call ([`Shelf`]), as the time is; what it
//! needs done comes out of [`Registry::poll`].
//!
//! | resource | who | what |
//! |---|---|---|
//! | `b/<digest>[/<piece>]` GET | members | a piece of a manifest or module, or what there is of it |
//! | `b/<digest>` POST | members | that a blob be said to all on its radio ([`Registry::speak`]) |
//! | `n?t=<name:tag>` GET | members | [`Resolved`](capmesh_wire::registry::Resolved) |
//! | `r` GET, PUT | members | the roster; a newer one that the site has signed, or a delta to it |

mod lent;
mod resources;

pub use lent::{LEASE_DAYS, Lent};

use crate::core::resources::{RosterResource, TagsResource, reader};
use capmesh_blob::Serve;
use capmesh_blob::serve::Rate;
use capmesh_coap::block::BlockSize;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{self, Via};
use capmesh_coap::server::{Route, Server, ServerConfig};
use capmesh_session::{Link, Member, Peer};
use capmesh_transfer::BlobResource;
use capmesh_transfer::said::{self, Heard, Rank, Speaker};
use capmesh_wire::registry::Resolved;
use capmesh_wire::roster::Untrusted;
use capmesh_wire::{CapsuleRef, Instant, PublicKey, Revision, Roster, limits, paths};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of the longest roster, with its head and signature.
pub const ROSTER: usize = limits::ROSTER_HEAD + limits::ROSTER_ENTRIES * limits::ROSTER_ENTRY + 8;

/// Room for a roster that comes in blocks.
const BODY: usize = 64 * 1_024;
const _: () = assert!(ROSTER <= BODY);

/// Peers whose rates are remembered.
const PEERS: usize = 64;

/// How often one peer may ask for a piece: 2 MB/s in pieces of one kilobyte.
const RATE: Rate = Rate { interval: Duration::from_micros(500), burst: 256 };

/// The capsules of a registry, lent to [`Registry::handle`].
pub trait Shelf: capmesh_blob::Store {
    /// What a reference stands for, for this member; `None` if it stands for nothing.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn resolve(
        &self,
        asker: Member,
        reference: &CapsuleRef<'_>,
    ) -> Result<Option<Resolved>, Unavailable>;
}

/// The capsules cannot be looked up now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What happens to a registry.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram came.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// Whether it was sent to a group.
        via: Via,
        /// What it holds.
        bytes: &'a [u8],
    },
    /// The time, in seconds since 1970: who has expired has no session from then on.
    Wall(u64),
    /// The owner has a roster, verified or not.
    Roster(&'a [u8]),
}

/// What a registry wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'b> {
    /// A datagram is to be sent.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// What it holds.
        bytes: &'b [u8],
    },
    /// Another roster counts from now on, and is to be kept.
    Roster(Vec<u8>),
}

/// The registry. See the [module](self).
pub struct Registry<L> {
    link: L,
    server: Server<Peer, 1, 2, BODY>,
    serve: Serve<Peer, PEERS>,
    site: PublicKey,
    roster: Vec<u8>,
    /// A newer one, verified, that does not count yet.
    newer: Option<Vec<u8>>,
    /// The one that counts has not been given out to be kept.
    is_new: bool,
    /// Says blobs to all on its radio, if it is on one: to this group.
    speaker: Option<(SocketAddr, Box<Speaker>)>,
}

impl<L: Link> Registry<L> {
    /// A registry of the site with this key, with a roster of it. `key` is for Echo values and is to be
    /// random.
    ///
    /// # Errors
    /// If the site has not signed the roster.
    pub fn new(
        now: Instant,
        mut link: L,
        site: PublicKey,
        roster: &[u8],
        key: [u8; 16],
    ) -> Result<Self, Untrusted> {
        let verified = verify(&site, roster)?;
        link.set_roster(now, &verified);
        let config = ServerConfig { block: BlockSize::MAX, ..ServerConfig::default() };
        Ok(Self {
            link,
            server: Server::new(config, EchoKey::new(key)),
            serve: Serve::new(RATE),
            site,
            roster: roster.to_vec(),
            newer: None,
            is_new: false,
            speaker: None,
        })
    }

    /// It is on a radio, on which all nodes hear this group: what one of them asks to be said is said to all.
    /// `seed` makes it differ from others.
    pub fn speak(&mut self, group: SocketAddr, seed: u64) {
        let speaker = Speaker::new(said::Config::radio(Rank::Registry), seed);
        self.speaker = Some((group, Box::new(speaker)));
    }

    /// The roster that counts.
    #[must_use]
    pub fn roster(&self) -> &[u8] {
        &self.roster
    }

    /// The endpoint.
    pub const fn link(&self) -> &L {
        &self.link
    }

    /// Takes something. The work is that of one request: a piece that is read, a tag that is looked up,
    /// a roster that is verified.
    pub fn handle(&mut self, now: Instant, shelf: &dyn Shelf, input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => self.datagram(now, shelf, from, via, bytes),
            Input::Wall(seconds) => self.link.set_unix_time(now, seconds),
            Input::Roster(bytes) => {
                if let Ok(newer) = newer(&self.site, &self.roster, bytes) {
                    self.newer = newer;
                }
            }
        }
        self.turn_over(now);
    }

    /// What is to be done, if there is anything; to be called until there is nothing. `buf` has room for
    /// [`Link::mtu`] bytes.
    pub fn poll<'b>(
        &mut self,
        now: Instant,
        shelf: &dyn Shelf,
        buf: &'b mut [u8],
    ) -> Option<Output<'b>> {
        if std::mem::take(&mut self.is_new) {
            return Some(Output::Roster(self.roster.clone()));
        }
        while let Some(output) = self.link.poll(now, buf) {
            match output {
                endpoint::Output::Transmit { to, len } => {
                    return Some(Output::Transmit { to, bytes: buf.get(..len)? });
                }
                // It asks nobody, so that nothing of its own ends.
                endpoint::Output::Outcome(_) => {}
            }
        }
        let (to, speaker) = self.speaker.as_mut()?;
        let len = speaker.poll(now, shelf, &mut [0; said::PIECE], buf)?;
        Some(Output::Transmit { to: *to, bytes: buf.get(..len)? })
    }

    /// When to poll again although nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let said = self.speaker.as_ref().and_then(|(_, speaker)| speaker.poll_timeout());
        self.link.poll_timeout().into_iter().chain(said).min()
    }

    fn datagram(
        &mut self,
        now: Instant,
        shelf: &dyn Shelf,
        from: SocketAddr,
        via: Via,
        bytes: &[u8],
    ) {
        if let Some((_, speaker)) = &mut self.speaker
            && let Some(heard) = said::read(bytes)
        {
            match heard {
                Heard::Part(part) => speaker.heard_part(now, &part),
                Heard::Ask(ask) => {
                    speaker.heard_ask(now, &ask, shelf);
                }
            }
            return;
        }
        let mtu = self.link.mtu();
        let (mut scratch, mut reply) = (vec![0; mtu], vec![0; mtu]);
        let Some(event) = self.link.handle(now, from, via, bytes, &mut scratch) else { return };
        let mut blobs = BlobResource::new(&mut self.serve, shelf, reader)
            .speaking(self.speaker.as_mut().map(|(_, speaker)| &mut **speaker));
        let mut tags = TagsResource { shelf };
        let (site, roster, newer) = (&self.site, &self.roster, &mut self.newer);
        let mut roster = RosterResource { site, roster, newer };
        let mut routes = [
            Route::below(paths::BLOBS, &mut blobs),
            Route::at(paths::TAGS, &mut tags),
            Route::at(paths::ROSTER, &mut roster),
        ];
        let _ = self.server.handle(now, &mut self.link, &mut routes, event, &mut reply);
    }

    /// Makes a newer roster count.
    fn turn_over(&mut self, now: Instant) {
        let Some(newer) = self.newer.take() else { return };
        if let Ok(roster) = Roster::from_trusted(&newer) {
            self.link.set_roster(now, &roster);
            self.is_new = true;
        }
        self.roster = newer;
    }
}

impl<L> fmt::Debug for Registry<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("roster", &self.roster.len()).finish_non_exhaustive()
    }
}

/// Why a roster is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotTaken {
    /// It is not to be believed.
    Untrusted(Untrusted),
    /// There is a newer one here.
    Older(Revision),
    /// It leads from another one than that which is here.
    Base(Revision),
}

fn verify<'a>(site: &PublicKey, bytes: &'a [u8]) -> Result<Roster<'a>, Untrusted> {
    use capmesh_wire::roster::UnverifiedRoster;
    UnverifiedRoster::parse(bytes).map_err(Untrusted::Malformed)?.verify(site)
}

/// The roster that `bytes` say, or lead to from the one that is `held`, if it is newer.
fn newer(site: &PublicKey, held: &[u8], bytes: &[u8]) -> Result<Option<Vec<u8>>, NotTaken> {
    use capmesh_wire::roster::{Delta, UnverifiedRoster};
    let untrusted = |error| NotTaken::Untrusted(Untrusted::Malformed(error));
    let old = Roster::from_trusted(held).map_err(untrusted)?;
    let version = old.head().version;
    let (bytes, found) = match UnverifiedRoster::parse(bytes) {
        Ok(whole) => (bytes.to_vec(), whole.version()),
        Err(error) => {
            let delta = Delta::parse(bytes).map_err(|_| untrusted(error))?;
            let found = delta.head().version;
            if found > version && delta.base() != version {
                return Err(NotTaken::Base(version));
            }
            let mut applied = vec![0; ROSTER];
            // What is longer than a roster may be is none.
            let len = delta.apply(&old, &mut applied).unwrap_or_default();
            applied.truncate(len);
            (applied, found)
        }
    };
    if found < version {
        return Err(NotTaken::Older(version));
    }
    if found == version {
        return Ok(None);
    }
    verify(site, &bytes).map_err(NotTaken::Untrusted)?;
    Ok(Some(bytes))
}
