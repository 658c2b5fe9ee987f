//! What roster, plan and capsules mean for the rest of the node.

use super::Node;
use crate::config::Config;
use crate::host::CapsuleHost;
use crate::install::{self, Board};
use crate::instances::Instances;
use crate::instances::profile::Profile;
use crate::problem::Reason;
use crate::site;
use alloc::vec::Vec;
use capmesh_session::{Link, Member, Peer, Stats};
use capmesh_wire::control::{Nothing, Reply};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::log::Level;
use capmesh_wire::{Digest, ErrorCode, Instant, Manifest};
use core::time::Duration;

/// The time between two lines of the log about those who are refused.
const BETWEEN_REFUSED: Duration = Duration::from_secs(5);

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Goes on with roster and plan.
    #[inline(never)]
    pub(super) fn advance_site(&mut self, now: Instant, flash: &[u8]) {
        while let Some(event) = self.site.poll(now, flash, &mut self.store, &mut self.link) {
            match event {
                site::Event::Adopted => {
                    let waiting = self.adopting.take();
                    self.reply(now, waiting, &Reply::Done(Nothing {}));
                    self.say(now, None, Level::Info, format_args!("belongs to a site now"));
                }
                site::Event::NotAdopted(reason) => {
                    let waiting = self.adopting.take();
                    self.refuse(now, waiting, &reason);
                }
                site::Event::RosterChanged => {
                    if let Some(roster) = self.site.roster(flash, &self.store) {
                        self.link.set_roster(now, &roster);
                    }
                    self.distrust(now, flash);
                    self.greet(now, flash);
                    self.pass_on(now, flash);
                    self.reconcile = true;
                }
                site::Event::PlanChanged => self.reconcile = true,
                site::Event::Refused { reason, .. } => {
                    if is_unverified(reason.code) {
                        self.unverified = self.unverified.saturating_add(1);
                    }
                    self.say(
                        now,
                        None,
                        Level::Warning,
                        format_args!("a document is refused: {reason}"),
                    );
                }
            }
            self.changed.status = true;
        }
    }

    /// Says that there were handshakes of strangers.
    pub(super) fn advance_strangers(&mut self, now: Instant) {
        let &Stats { strangers, stranger: Some(from), .. } = self.link.stats() else { return };
        if strangers == self.refused_said.1 || !self.may_say_refused(now) {
            return;
        }
        self.refused_said.1 = strangers;
        self.say(now, None, Level::Warning, format_args!("{from} is refused: not of this site"));
        self.changed.status = true;
    }

    /// Somebody wants what its role does not allow.
    #[inline(never)]
    pub(super) fn forbid(&mut self, now: Instant, peer: Peer) {
        self.forbidden = self.forbidden.saturating_add(1);
        self.changed.status = true;
        let Some(Member { id, role }) = peer.member() else { return };
        if self.may_say_refused(now) {
            let text = format_args!("{id} is refused: a {role} may not command");
            self.say(now, None, Level::Warning, text);
        }
    }

    /// Whether the log may say that somebody is refused: they are to have no way to fill it.
    fn may_say_refused(&mut self, now: Instant) -> bool {
        let may = self.refused_said.0.is_none_or(|said| now >= said + BETWEEN_REFUSED);
        if may {
            self.refused_said.0 = Some(now);
        }
        may
    }

    /// Goes on with capsules that come and go.
    #[inline(never)]
    pub(super) fn advance_install(&mut self, now: Instant, flash: &[u8]) {
        self.keep_company(now, flash);
        loop {
            let Self { install, store, link, host, site, config, instances, .. } = self;
            let board = Machine { config, host, instances };
            match install.poll(now, flash, store, link, site, &board) {
                None => return,
                Some(event) => self.installed(now, event),
            }
        }
    }

    /// Has the server forget uploads that were answered before their end.
    pub(super) fn let_go(&mut self) {
        let cut_short = [self.site.take_cut_short(), self.install.take_cut_short()];
        cut_short.into_iter().flatten().for_each(|body| self.server.release(body));
    }

    /// Takes note of what has become of a capsule.
    pub(super) fn installed(&mut self, now: Instant, event: install::Event) {
        match event {
            install::Event::Held(digest) => {
                self.say(now, None, Level::Info, format_args!("holds capsule {}", digest.prefix()));
                self.reconcile = true;
                self.changed.inventory = true;
            }
            install::Event::Refused { digest, reason } => {
                self.say_refused(now, &digest, &reason);
                self.refused(&digest, reason.code);
            }
            install::Event::NotTaken { digest, reason } => self.say_refused(now, &digest, &reason),
            install::Event::Delayed { digest, reason } => {
                let text = format_args!("capsule {} is delayed: {reason}", digest.prefix());
                self.say(now, None, Level::Warning, text);
            }
            install::Event::Removed(_) => self.changed.inventory = true,
        }
    }

    fn say_refused(&mut self, now: Instant, digest: &Digest, reason: &Reason) {
        let text = format_args!("capsule {} is refused: {reason}", digest.prefix());
        self.say(now, None, Level::Error, text);
        if is_unverified(reason.code) {
            self.unverified = self.unverified.saturating_add(1);
        }
        self.changed.status = true;
    }

    /// Capsules whose publisher is trusted no more do not run.
    fn distrust(&mut self, now: Instant, flash: &[u8]) {
        let untrusted: Vec<_> = self.install.untrusted(flash, &self.store, &self.site).collect();
        for digest in untrusted {
            let running = self.instances.iter().filter(|slot| slot.running.is_some());
            let of_it = running.filter(|slot| slot.capsule == digest).map(|slot| slot.id);
            for id in of_it.collect::<Vec<_>>() {
                self.end(now, id);
                let text = format_args!("its publisher is trusted no more");
                self.say(now, Some(id), Level::Error, text);
            }
            self.refused(&digest, ErrorCode::Untrusted);
        }
    }

    /// The instances of a capsule that cannot be here have failed.
    fn refused(&mut self, digest: &Digest, why: ErrorCode) {
        for slot in self.instances.iter_mut() {
            if slot.capsule == *digest && slot.running.is_none() && !slot.phase.is_over() {
                slot.state = InstanceState::Failed;
                slot.reason = Some(why);
            }
        }
        self.changed.status = true;
    }
}

/// Whether something was not what its signature or digest says.
const fn is_unverified(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::BadSignature | ErrorCode::Untrusted | ErrorCode::DigestMismatch)
}

/// What the machine has, for those who install.
struct Machine<'a, H: CapsuleHost> {
    config: &'a Config,
    host: &'a H,
    instances: &'a Instances<H::Instance>,
}

impl<H: CapsuleHost> Board for Machine<'_, H> {
    fn fits(&self, manifest: &Manifest<'_>) -> Result<(), Reason> {
        let profile = Profile::new(self.config, manifest, manifest.module_size)?;
        let budget = self.config.budget;
        if profile.ram > budget.ram {
            let words = format_args!("it takes {} of {} bytes of RAM", profile.ram, budget.ram);
            return Err(Reason::new(ErrorCode::NoRam).because(words));
        }
        if profile.fuel_per_second > budget.fuel_per_second {
            return Err(Reason::new(ErrorCode::NoFuel));
        }
        Ok(())
    }

    fn admit(&self, manifest: &Manifest<'_>, module: &[u8]) -> Result<(), Reason> {
        let profile = Profile::new(self.config, manifest, manifest.module_size)?;
        let admitted = self.host.admit(module, &profile.limits);
        admitted.map(drop).map_err(|why| Reason::new(ErrorCode::InvalidModule).because(why))
    }

    fn uses(&self, digest: &Digest) -> bool {
        self.instances.uses(digest)
    }
}
