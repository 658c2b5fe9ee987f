//! The session layer: who is known, which keys belong to whom, and how they come about.

mod client;
mod initiate;
#[cfg(feature = "persistence")]
mod persist;
mod respond;
mod security;
mod server;
mod slot;
mod step;

#[cfg(feature = "persistence")]
pub use persist::Record;
pub use step::Step;

use crate::config::Config;
use crate::edhoc::{ConnectionId, CredentialId, Identity, Refusal};
use crate::error::HandshakeError;
use crate::limit::Bucket;
use crate::peer::{Entry, Member, Peer, Roles, Roster};
use crate::stats::{Stats, count};
use capmesh_coap::message::Message;
use capmesh_coap::security::SealError;
use capmesh_wire::{Instant, NodeId};
use core::fmt;
use core::net::SocketAddr;
use initiate::Attempt;
use rand_core::{CryptoRng, RngCore};
use respond::HalfOpen;
use slot::{Session, Slot, Table};

/// Whether message_3 can go by itself in this build.
const SEPARATE: bool = cfg!(feature = "separate");

/// Whether this build has message_4.
const MESSAGE_4: bool = cfg!(feature = "message-4");

/// The sessions of one endpoint: what stands between its message layer and its requests.
///
/// - `R`: where credentials are looked up.
/// - `G`: the random number generator for keys and connection identifiers.
/// - `N`: peers, with or without a session. When all slots are taken a newcomer who has proved who it
///   is replaces the peer that was not heard of for the longest time, one without a session first,
///   never a pinned one.
/// - `H`: handshakes in progress in each role, and replaced sessions that still serve what is in
///   flight. Nobody can take away a session by beginning handshakes: they have a table of their own
///   until they are finished.
///
/// Memory: [`Sessions::BYTES_PER_PEER`] for each of `N`, [`Sessions::BYTES_PER_HANDSHAKE`] for each of
/// `H`.
// In this order because small offsets take fewer bytes of code.
#[repr(C)]
pub struct Sessions<R, G, const N: usize, const H: usize> {
    /// When the call under way was made, or the last one.
    now: Instant,
    responses: Bucket,
    serial: u32,
    /// See [`readiness`](capmesh_coap::Security::readiness).
    readiness: u32,
    stats: Stats,
    /// Whether a slot is failing.
    has_failing: bool,
    /// The Unix time at the start of the clock, in microseconds.
    unix_at_zero: Option<u64>,
    own_id: NodeId,
    /// Makes Echo values for those whose address is to be proved.
    echo_key: [u8; 16],
    config: Config,
    attempts: [Option<Attempt>; H],
    half_open: [Option<HalfOpen>; H],
    retired: [Option<Retired>; H],
    table: Table<N>,
    identity: Identity,
    roster: R,
    rng: G,
}

/// What a response is sealed or opened with.
#[derive(Clone, Debug)]
pub struct Binding(Bound);

#[derive(Clone, Debug)]
#[repr(u8)]
enum Bound {
    Plain,
    Session { slot: u16, serial: u32, oscore: capmesh_oscore::Binding },
}

/// A replaced session.
#[derive(Debug)]
struct Retired {
    slot: usize,
    session: Session,
    until: Instant,
}

/// Where a session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The one in which requests go out.
    Current(usize),
    /// One that this side has begun and the peer has not confirmed.
    Attempt(usize),
    /// A replaced one.
    Retired(usize),
}

/// Why a peer cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntroduceError {
    /// It is not on the roster, or no longer.
    Unknown,
    /// It is on the roster with a role that has no sessions, or its time is over, or it is this side.
    NotAuthorised,
    /// Every slot is taken by a pinned peer or a handshake.
    Full,
}

impl fmt::Display for IntroduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not on the roster",
            Self::NotAuthorised => "on the roster, but not for sessions with this side",
            Self::Full => "no slot is free for another peer",
        })
    }
}

impl core::error::Error for IntroduceError {}

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    /// RAM that a peer takes, with an idle session or without.
    pub const BYTES_PER_PEER: usize = size_of::<Option<Slot>>() + 3 * size_of::<u32>();

    /// RAM that a place for a handshake takes: one in each role and a replaced session.
    pub const BYTES_PER_HANDSHAKE: usize =
        size_of::<Option<HalfOpen>>() + size_of::<Option<Attempt>>() + size_of::<Option<Retired>>();

    /// No sessions yet. `rng` is asked for keys and identifiers for as long as these sessions live:
    /// it has to be cryptographically secure.
    #[must_use]
    #[inline(never)]
    pub fn new(now: Instant, config: Config, identity: Identity, roster: R, mut rng: G) -> Self {
        const { assert!(N > 0 && H > 0 && N + 3 * H < 0xff00, "1 to some 65,000 peers") };
        let mut echo_key = [0; 16];
        rng.fill_bytes(&mut echo_key);
        Self {
            own_id: NodeId::of_key(identity.credential().public_key()),
            responses: Bucket::full(now, config.responses),
            config,
            now,
            identity,
            roster,
            rng,
            table: Table::new(),
            half_open: core::array::from_fn(|_| None),
            attempts: core::array::from_fn(|_| None),
            retired: core::array::from_fn(|_| None),
            echo_key,
            serial: 0,
            readiness: 0,
            has_failing: false,
            unix_at_zero: None,
            stats: Stats::default(),
        }
    }

    /// Says where a member of the roster may be found, so that requests to it can be made. If there
    /// is a session with it already, its address is kept ([`Sessions::relocate`] changes it):
    /// announcements are not authenticated.
    ///
    /// This is for peers that this side wants to talk to, not for everybody who announces itself:
    /// where there is no room, the peer that was silent longest gives way, with its session if all
    /// have one.
    ///
    /// # Errors
    /// If it may not have a session, or there is no room.
    pub fn introduce(
        &mut self,
        now: Instant,
        id: NodeId,
        address: SocketAddr,
    ) -> Result<Peer, IntroduceError> {
        self.now = now;
        let entry = self.roster.find(id.as_bytes()).ok_or(IntroduceError::Unknown)?;
        if !self.is_authorised(&entry) {
            return Err(IntroduceError::NotAuthorised);
        }
        let at = self.place_for(&entry, address).ok_or(IntroduceError::Full)?;
        let slot = self.table.get(at).ok_or(IntroduceError::Full)?;
        let peer = Peer::Member(slot.member());
        if slot.session.is_none() {
            self.move_to(at, address);
        }
        Ok(peer)
    }

    /// Says that a peer is to be found at another address from now on: its session, if there is one,
    /// goes with it, and a handshake that has not got far begins anew there. For when requests to the
    /// old address time out. Returns whether the peer is known.
    pub fn relocate(&mut self, id: NodeId, address: SocketAddr) -> bool {
        let Some(at) = self.table.find(id) else { return false };
        self.move_to(at, address);
        true
    }

    fn move_to(&mut self, at: usize, address: SocketAddr) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.address == address {
            return;
        }
        slot.address = address;
        slot.is_address_verified = false;
        // That nobody answered elsewhere says nothing about this address.
        slot.failures = 0;
        slot.retry_at = self.now;
        if self.attempt_for(at).is_some() {
            self.abandon(at);
            self.begin(at);
        }
    }

    /// Begins a handshake with a peer that was [introduced](Sessions::introduce), without a request
    /// to carry. Returns whether there is a session, or will be one if all goes well.
    pub fn connect(&mut self, now: Instant, id: NodeId) -> bool {
        self.now = now;
        let Some(at) = self.table.find(id) else { return false };
        self.table.get(at).is_some_and(Slot::is_usable) || self.begin(at)
    }

    /// Keeps a peer from being replaced by others, or no longer. Returns whether it is known.
    pub fn pin(&mut self, id: NodeId, is_pinned: bool) -> bool {
        let slot = self.table.find(id).and_then(|at| self.table.get_mut(at));
        slot.is_some_and(|slot| {
            slot.is_pinned = is_pinned;
            true
        })
    }

    /// Forgets a peer and its keys. It is not told.
    pub fn forget(&mut self, id: NodeId) {
        if let Some(at) = self.table.find(id) {
            self.remove(at);
        }
    }

    /// The peer with this id, to send requests to, if it was introduced or has introduced itself.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        Some(Peer::Member(self.table.get(self.table.find(id)?)?.member()))
    }

    /// Everybody there is a session with.
    pub fn established(&self) -> impl Iterator<Item = Member> {
        self.table.iter().filter(|(_, slot)| slot.session.is_some()).map(|(_, slot)| slot.member())
    }

    /// Whether there is a session with this peer.
    #[must_use]
    pub fn is_established(&self, id: NodeId) -> bool {
        self.table
            .find(id)
            .and_then(|at| self.table.get(at))
            .is_some_and(|slot| slot.session.is_some())
    }

    /// A number that tells the present session with this peer from every earlier one. What was
    /// registered in an earlier one (an observation) ends with it, after
    /// [`Config::grace`] at the latest: it is to be registered again when this number changes.
    #[must_use]
    pub fn serial(&self, id: NodeId) -> Option<u32> {
        Some(self.table.get(self.table.find(id)?)?.session.as_ref()?.serial)
    }

    /// Why the last handshake with this peer failed, if none has succeeded since.
    #[must_use]
    pub fn last_failure(&self, id: NodeId) -> Option<HandshakeError> {
        self.table.get(self.table.find(id)?)?.last_failure
    }

    /// The roster.
    pub const fn roster(&self) -> &R {
        &self.roster
    }

    /// The roster, to be replaced by a newer one; [`Sessions::revalidate`] then.
    pub const fn roster_mut(&mut self) -> &mut R {
        &mut self.roster
    }

    /// Looks everybody up again, and ends the sessions of those who are no longer on the roster, have
    /// another key there, or are past their time; the others get the role that it now says. The work
    /// is a look-up for each peer.
    pub fn revalidate(&mut self, now: Instant) {
        self.now = now;
        for at in 0..N {
            let Some(id) = self.table.get(at).map(|slot| slot.id) else { continue };
            match self.roster.find(id.as_bytes()) {
                Some(entry) if entry.id == id && self.is_authorised(&entry) => {
                    if let Some(slot) = self.table.get_mut(at) {
                        slot.role = entry.role;
                        slot.expires = entry.expires;
                    }
                }
                _ => {
                    self.remove(at);
                    count(&mut self.stats.expired);
                }
            }
        }
    }

    /// Says what time it is, in seconds since 1970, for the expiry of roster entries. Until it is
    /// called, entries do not expire.
    pub fn set_unix_time(&mut self, now: Instant, seconds: u64) {
        let micros = seconds.saturating_mul(1_000_000);
        self.unix_at_zero = Some(micros.saturating_sub(now.as_micros()));
    }

    /// What this side is known by.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// This side's name.
    #[must_use]
    pub const fn own_id(&self) -> NodeId {
        self.own_id
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of handshakes of others that wait for message_3.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open.iter().flatten().count()
    }

    fn is_authorised(&self, entry: &Entry) -> bool {
        Roles::ANY.contains(entry.role)
            && entry.id != self.own_id
            && !self.is_expired(entry.expires)
    }

    fn is_expired(&self, expires: u64) -> bool {
        self.unix_at_zero.is_some_and(|zero| {
            zero.saturating_add(self.now.as_micros()) >= expires.saturating_mul(1_000_000)
        })
    }

    /// Whom the roster knows by what a handshake says. A credential by value must be the very one
    /// that the roster has.
    #[inline(never)]
    fn look_up(&self, id: &CredentialId<'_>) -> Result<Entry, Refusal> {
        let found = match *id {
            CredentialId::Kid(kid) => self.roster.find(kid),
            #[cfg(feature = "by-value")]
            CredentialId::Value { kid: Some(kid), .. } => self.roster.find(kid),
            #[cfg(feature = "by-value")]
            CredentialId::Value { kid: None, public_key, .. } => {
                self.roster.find(NodeId::of_key(&public_key).as_bytes())
            }
        };
        found.filter(|entry| id.is(&entry.credential)).ok_or(Refusal::UnknownCredential)
    }

    /// The slot of a peer, a new one if it has none.
    #[inline(never)]
    fn place_for(&mut self, entry: &Entry, address: SocketAddr) -> Option<usize> {
        if let Some(at) = self.table.find(entry.id) {
            return Some(at);
        }
        let attempts = &self.attempts;
        let at =
            self.table.room(|at| attempts.iter().flatten().any(|attempt| attempt.slot == at))?;
        if self.table.get(at).is_some_and(|slot| slot.session.is_some()) {
            count(&mut self.stats.evicted);
        }
        self.remove(at);
        self.table.insert(at, Slot::new(self.now, entry, address, &self.config));
        Some(at)
    }

    /// Takes a peer out with all that belongs to it.
    #[inline(never)]
    fn remove(&mut self, at: usize) {
        if self.table.remove(at).is_none() {
            return;
        }
        self.wake();
        for retired in &mut self.retired {
            retired.take_if(|retired| retired.slot == at);
        }
        for attempt in &mut self.attempts {
            // One with a request under way stays until that is cancelled.
            attempt.take_if(|attempt| attempt.slot == at && !attempt.abandon());
        }
    }

    /// Makes `session` the one in which requests to the peer go out, and retires the one that was.
    fn replace_session(&mut self, at: usize, session: Session) {
        if let Some(old) = self.table.replace_session(at, Some(session)) {
            self.retire(at, old);
        }
        if let Some(slot) = self.table.get_mut(at) {
            slot.is_lost = false;
            slot.is_failing = false;
            slot.failures = 0;
            slot.last_failure = None;
            slot.used = self.now;
        }
        self.wake();
    }

    /// Lets requests that wait be tried again.
    const fn wake(&mut self) {
        self.readiness = self.readiness.wrapping_add(1);
    }

    /// Keeps a replaced session for what is in flight. If there is no room, the one that would go
    /// first anyway goes now.
    fn retire(&mut self, slot: usize, session: Session) {
        let until = self.now + self.config.grace;
        let mut next = 0;
        let mut first = Instant::MAX;
        for (at, place) in self.retired.iter().enumerate() {
            let over = place.as_ref().map_or(Instant::ZERO, |retired| retired.until);
            if over < first {
                (next, first) = (at, over);
            }
        }
        if let Some(place) = self.retired.get_mut(next) {
            *place = Some(Retired { slot, session, until });
        }
    }

    fn expire_retired(&mut self) {
        for retired in &mut self.retired {
            retired.take_if(|retired| retired.until <= self.now);
        }
    }

    /// The session with this serial number.
    fn place_of(&self, slot: usize, serial: u32) -> Option<Place> {
        let is = |session: &Session| session.serial == serial;
        if self.table.get(slot).and_then(|slot| slot.session.as_ref()).is_some_and(is) {
            return Some(Place::Current(slot));
        }
        self.find_elsewhere(is)
    }

    /// The session for requests with this `kid`.
    fn place_by_kid(&self, kid: &[u8]) -> Option<Place> {
        self.table
            .find_kid(kid)
            .map(Place::Current)
            .or_else(|| self.find_elsewhere(|session| session.kid() == kid))
    }

    fn find_elsewhere(&self, is: impl Fn(&Session) -> bool) -> Option<Place> {
        let attempt = self
            .attempts
            .iter()
            .position(|attempt| attempt.as_ref().and_then(Attempt::session).is_some_and(&is));
        attempt.map(Place::Attempt).or_else(|| {
            let is = |retired: &Option<Retired>| retired.as_ref().is_some_and(|r| is(&r.session));
            self.retired.iter().position(is).map(Place::Retired)
        })
    }

    /// The session at a place, and whose it is.
    fn session_at(&mut self, place: Place) -> Option<(usize, &mut Session)> {
        match place {
            Place::Current(at) => Some((at, self.table.get_mut(at)?.session.as_mut()?)),
            Place::Attempt(at) => {
                let attempt = self.attempts.get_mut(at)?.as_mut()?;
                Some((attempt.slot, attempt.session_mut()?))
            }
            Place::Retired(at) => {
                let retired = self.retired.get_mut(at)?.as_mut()?;
                Some((retired.slot, &mut retired.session))
            }
        }
    }

    /// Whether a connection identifier of this side's is taken: as the Recipient ID of a session or
    /// in a handshake (RFC 9668 section 4).
    fn is_taken(&self, id: ConnectionId) -> bool {
        self.place_by_kid(id.as_bytes()).is_some()
            || self.half_open.iter().flatten().any(|half_open| half_open.wait.connection_id() == id)
            || self.attempts.iter().flatten().any(|attempt| attempt.connection_id() == Some(id))
    }

    /// A connection identifier that is not taken and is not `other`: of one byte where there are
    /// enough of them, of two otherwise.
    fn fresh_id(&mut self, other: Option<ConnectionId>) -> Option<ConnectionId> {
        const ONE_BYTE: u32 = 48;
        let is_short = N + 3 * H + 1 < ONE_BYTE as usize;
        let mut candidate = self.rng.next_u32();
        for _ in 0..N + 3 * H + 2 {
            let [.., high, low] = candidate.to_be_bytes();
            let id = if is_short {
                // The encodings of 0 to 23 and of -1 to -24.
                let n = u8::try_from(candidate % ONE_BYTE).unwrap_or_default();
                ConnectionId::new(&[if n < 24 { n } else { n + 8 }])
            } else {
                ConnectionId::new(&[high, low])
            };
            if id.is_some() && id != other && id.is_some_and(|id| !self.is_taken(id)) {
                return id;
            }
            candidate = candidate.wrapping_add(1);
        }
        None
    }

    /// Begins a call.
    pub(crate) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    const fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }
}

#[inline(never)]
fn copy(message: Message<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    let bytes = message.as_bytes();
    out.get_mut(..bytes.len()).ok_or(SealError::Overflow)?.copy_from_slice(bytes);
    Ok(bytes.len())
}

impl<R, G, const N: usize, const H: usize> fmt::Debug for Sessions<R, G, N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({:?}, {:?})", self.own_id, self.stats)
    }
}
