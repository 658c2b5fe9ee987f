//! Sessions that outlive a restart (RFC 8613 appendix B.1), for callers who want to store them.
//!
//! With [`Config::reserve`](crate::Config::reserve) set, the caller asks for [`Sessions::record`]
//! after every call that may have changed something, stores it, and says so with
//! [`Sessions::confirm_record`]. After a restart it gives the newest record of each peer back with
//! [`Sessions::restore`]. What comes in then is challenged once (appendix B.1.2): the replay window is
//! not stored.

use super::slot::{Session, restore};
use super::{IntroduceError, Sessions};
use crate::edhoc::OscoreKeys;
use crate::peer::Roster;
use capmesh_oscore::{Replay, SequenceReservation};
use capmesh_wire::{Instant, NodeId};
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};

/// What is to be stored of a session. The keys are secret.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose session it is.
    pub id: NodeId,
    /// Where the peer is.
    pub address: SocketAddr,
    /// What the session was derived from.
    pub keys: OscoreKeys,
    /// No sequence number from this one on has been used before the record is confirmed.
    pub bound: u64,
}

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Sessions<R, G, N, H> {
    /// What is to be made durable next: a new session, or the next sequence numbers of one. The work
    /// is a pass over the table.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        let current = self.table.iter().filter_map(|(at, slot)| Some((at, slot.session.as_ref()?)));
        let unconfirmed = self
            .attempts
            .iter()
            .flatten()
            .filter_map(|attempt| Some((attempt.slot, attempt.session()?)));
        current.chain(unconfirmed).find_map(|(at, session)| {
            let keys = session.keys.clone()?;
            let bound = session.context.sequence().wanted()?;
            let slot = self.table.get(at)?;
            Some(Record { id: slot.id, address: slot.address, keys, bound })
        })
    }

    /// Says that a record is durable: numbers below its bound may be used.
    pub fn confirm_record(&mut self, record: &Record) {
        if let Some(place) = self.place_by_kid(record.keys.recipient_id.as_bytes())
            && let Some((_, session)) = self.session_at(place)
        {
            session.context.confirm_sequence(record.bound);
        }
        self.wake();
    }

    /// Goes on with a session from before a restart. Nothing is sent in it until a new record has
    /// been [stored](Sessions::record).
    ///
    /// # Errors
    /// As [`Sessions::introduce`]; [`IntroduceError::Full`] also if its identifier is taken.
    pub fn restore(&mut self, now: Instant, record: &Record) -> Result<(), IntroduceError> {
        self.introduce(now, record.id, record.address)?;
        let at = self.table.find(record.id).ok_or(IntroduceError::Full)?;
        let sequence = SequenceReservation::stored(record.bound, self.config.reserve);
        let context = restore(&record.keys, sequence, Replay::Lost);
        let (Some(mut context), false) = (context, self.is_taken(record.keys.recipient_id)) else {
            return Err(IntroduceError::Full);
        };
        context.limit(self.config.key_use);
        let serial = self.next_serial();
        let keys = Some(record.keys.clone());
        let session = Session { context, serial, since: now, by_us: false, keys };
        self.replace_session(at, session);
        Ok(())
    }
}
