//! What is kept of each peer, and the table of them.

use crate::config::Config;
use crate::edhoc::OscoreKeys;
use crate::error::HandshakeError;
use crate::index::{Index, hash};
use crate::limit::Bucket;
use crate::peer::{Entry, Member};
use capmesh_oscore::{Context, Parameters, Replay, ReplayWindow, SequenceReservation};
use capmesh_wire::{Instant, NodeId, Role};
use core::net::SocketAddr;

/// A security context and what decides over its replacement.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) context: Context,
    /// Tells it from every other session of this side's, before and after.
    pub(super) serial: u32,
    pub(super) since: Instant,
    /// Whether this side was the initiator.
    pub(super) by_us: bool,
    /// What it was derived from, if it is to outlive a restart.
    #[cfg(feature = "persistence")]
    pub(super) keys: Option<OscoreKeys>,
}

impl Session {
    pub(super) fn derive(
        keys: &OscoreKeys,
        config: &Config,
        serial: u32,
        since: Instant,
        by_us: bool,
    ) -> Option<Self> {
        let keep = cfg!(feature = "persistence") && config.reserve > 0;
        let sequence = if keep {
            SequenceReservation::stored(0, config.reserve)
        } else {
            SequenceReservation::volatile()
        };
        let mut context = restore(keys, sequence, Replay::Known(ReplayWindow::EMPTY))?;
        context.limit(config.key_use);
        Some(Self {
            context,
            serial,
            since,
            by_us,
            #[cfg(feature = "persistence")]
            keys: keep.then(|| keys.clone()),
        })
    }

    pub(super) fn kid(&self) -> &[u8] {
        self.context.recipient_id().as_bytes()
    }
}

/// The context of these keys.
pub(super) fn restore(
    keys: &OscoreKeys,
    sequence: SequenceReservation,
    replay: Replay,
) -> Option<Context> {
    let parameters = Parameters {
        master_secret: &keys.master_secret,
        master_salt: &keys.master_salt,
        id_context: None,
        sender_id: keys.sender_id.as_bytes(),
        recipient_id: keys.recipient_id.as_bytes(),
    };
    Context::restore(&parameters, sequence, replay).ok()
}

/// A peer: where it is, and the session with it if there is one.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: NodeId,
    pub(super) role: Role,
    pub(super) is_pinned: bool,
    /// Whether the peer has proved that it receives at `address`.
    pub(super) is_address_verified: bool,
    /// The peer says that it no longer has the session: nothing more is sent in it, unless it turns
    /// out to be the only one to be had.
    pub(super) is_lost: bool,
    /// The last handshake failed and requests that waited for it are to be told.
    pub(super) is_failing: bool,
    pub(super) failures: u8,
    pub(super) last_failure: Option<HandshakeError>,
    pub(super) restarts: Bucket,
    pub(super) address: SocketAddr,
    /// In seconds since 1970.
    pub(super) expires: u64,
    /// When the next handshake may begin.
    pub(super) retry_at: Instant,
    /// When the peer was last heard of or talked to.
    pub(super) used: Instant,
    pub(super) session: Option<Session>,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 400, "RAM of an idle session");

impl Slot {
    pub(super) fn new(now: Instant, entry: &Entry, address: SocketAddr, config: &Config) -> Self {
        Self {
            id: entry.id,
            role: entry.role,
            is_pinned: false,
            is_address_verified: false,
            is_lost: false,
            is_failing: false,
            failures: 0,
            last_failure: None,
            restarts: Bucket::full(now, config.restarts),
            address,
            expires: entry.expires,
            retry_at: Instant::ZERO,
            used: now,
            session: None,
        }
    }

    pub(super) const fn member(&self) -> Member {
        Member { id: self.id, role: self.role }
    }

    /// A session in which requests may go out.
    pub(super) fn is_usable(&self) -> bool {
        self.session.is_some() && !self.is_lost
    }
}

/// The peers, found by id and by the `kid` of their requests.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    slots: [Option<Slot>; N],
    by_id: Index<N>,
    by_kid: Index<N>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new() -> Self {
        // Not a constant, of which a whole empty slot would be in the image.
        Self { slots: core::array::from_fn(|_| None), by_id: Index::new(), by_kid: Index::new() }
    }

    #[inline(never)]
    pub(super) fn get(&self, at: usize) -> Option<&Slot> {
        self.slots.get(at)?.as_ref()
    }

    #[inline(never)]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.slots.get_mut(at)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)))
    }

    #[inline(never)]
    pub(super) fn find(&self, id: NodeId) -> Option<usize> {
        self.by_id.find(hash(id.as_bytes()), |at| self.get(at).is_some_and(|slot| slot.id == id))
    }

    /// The peer whose present session has this `kid`.
    #[inline(never)]
    pub(super) fn find_kid(&self, kid: &[u8]) -> Option<usize> {
        self.by_kid.find(hash(kid), |at| {
            self.get(at)
                .and_then(|slot| slot.session.as_ref())
                .is_some_and(|session| session.kid() == kid)
        })
    }

    /// Where there is room for another peer: a free slot, or else that of the peer which is least
    /// worth keeping. `busy` says of which one nothing may be taken away now. The work is a pass over
    /// the table.
    pub(super) fn room(&self, busy: impl Fn(usize) -> bool) -> Option<usize> {
        let mut least: Option<(usize, &Slot)> = None;
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { return Some(at) };
            if slot.is_pinned || busy(at) {
                continue;
            }
            let is_less = least.is_none_or(|(_, least)| {
                match (slot.session.is_some(), least.session.is_some()) {
                    (false, true) => true,
                    (true, false) => false,
                    _ => slot.used < least.used,
                }
            });
            if is_less {
                least = Some((at, slot));
            }
        }
        least.map(|(at, _)| at)
    }

    /// Puts a peer into a slot that is free.
    pub(super) fn insert(&mut self, at: usize, slot: Slot) {
        let key = hash(slot.id.as_bytes());
        if let Some(place @ None) = self.slots.get_mut(at) {
            *place = Some(slot);
            self.by_id.insert(key, at);
        }
    }

    /// Takes a peer out.
    pub(super) fn remove(&mut self, at: usize) -> Option<Slot> {
        self.replace_session(at, None);
        let slot = self.slots.get_mut(at)?.take()?;
        self.by_id.remove(hash(slot.id.as_bytes()), at);
        Some(slot)
    }

    /// Gives a peer another session and returns the one that it had.
    pub(super) fn replace_session(&mut self, at: usize, new: Option<Session>) -> Option<Session> {
        let slot = self.slots.get_mut(at)?.as_mut()?;
        let key = new.as_ref().map(|session| hash(session.kid()));
        let old = core::mem::replace(&mut slot.session, new);
        if let Some(old) = &old {
            self.by_kid.remove(hash(old.kid()), at);
        }
        if let Some(key) = key {
            self.by_kid.insert(key, at);
        }
        old
    }
}
