//! What neighbours say of a newer roster.

use super::documents::{Kind, Known};
use super::intake::Intake;
use super::pull::Pull;
use super::{Incoming, PATIENCE, Site, Source};
use crate::flash::{Store, kinds};
use alloc::boxed::Box;
use capmesh_session::Peer;
use capmesh_wire::roster::Delta;
use capmesh_wire::{Instant, Revision};

impl Site {
    /// A neighbour announces a roster: if it is newer, the neighbour is asked for it, unless a
    /// document is on its way already or the neighbour has disappointed lately.
    pub fn heard(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &Store,
        peer: Peer,
        roster: Revision,
    ) {
        let Some(member) = peer.member() else { return };
        let Some(held) = self.roster(flash, store).map(|roster| roster.head().version) else {
            return;
        };
        if roster > held && self.incoming.is_none() && !self.rested.rests(now, member.id) {
            let base = (!self.rested.wants_whole(member.id)).then_some(held);
            let pull = Pull::new(peer, member.id, base, self.block);
            let intake = Intake::new(Kind::Roster);
            let source = Source::Pull(pull);
            self.incoming = Some(Box::new(Incoming { intake, source, until: now + PATIENCE }));
        }
    }

    /// Somebody has said to all what leads to a newer roster. Says to which, if it does: it is verified
    /// then and on its way into flash. The work is a digest over the roster, then a signature.
    pub fn overheard(
        &mut self,
        now: Instant,
        flash: &[u8],
        store: &mut Store,
        from: Peer,
        bytes: &[u8],
    ) -> Option<Revision> {
        let known = Known::read(flash, store, self.own.id(), self.unix)?;
        let delta = Delta::parse(bytes).ok()?;
        let new = delta.head().version;
        if new <= known.roster.head().version || !delta.is_genuine(&known.roster, &known.site) {
            return None;
        }
        let gives_way = |incoming: &Incoming| {
            matches!(incoming.source, Source::Pull(_)) && !incoming.intake.is_being_kept()
        };
        if self.incoming.as_deref().is_none_or(gives_way) {
            if let Some(incoming) = self.incoming.take() {
                self.discard(incoming.intake.take_leftovers().0);
            }
            let mut intake = Intake::new(Kind::Roster);
            intake.push(bytes, true);
            let source = Source::Heard { from };
            self.incoming = Some(Box::new(Incoming { intake, source, until: now + PATIENCE }));
        }
        Some(new)
    }

    /// What leads to the roster that is held from the one before, if that is short.
    #[must_use]
    pub fn tidings<'a>(&'a self, flash: &'a [u8], store: &Store) -> Option<(Revision, &'a [u8])> {
        let held = self.roster(flash, store)?.head().version;
        let kept = match &self.delta {
            Some(delta) => delta.as_slice(),
            None => store.get(flash, kinds::ROSTER_DELTA, 0)?,
        };
        let leads = Delta::parse(kept).is_ok_and(|delta| delta.head().version == held);
        leads.then_some((held, kept))
    }
}
