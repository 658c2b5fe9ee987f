//! The registry: which one is asked, what it is told, and that it keeps what runs.
//!
//! It keeps what a gateway asks for, for a month, whatever becomes of the tag; so the gateway asks for the
//! capsules of its plan by digest, one a minute, and hears by that whether the registry is there.

use super::{Gateway, Purpose};
use crate::api::RegistryView;
use crate::asks::{Answer, Request};
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::log::Level;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, Digest, Instant, NodeId, Revision, content_format, paths};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;

/// Those that nodes are told of.
pub(super) const REGISTRIES: usize = 2;

/// How long it may be silent before another one on the roster is asked.
const SILENCE: Duration = Duration::from_secs(5);

/// How soon it is told the roster again if it did not take it, and how soon when it did and has another.
const TELL_AGAIN: Duration = Duration::from_secs(5);
const TELL_LATER: Duration = Duration::from_secs(3_600);

/// The time between two capsules that are asked for.
const RENEW: Duration = Duration::from_secs(60);

/// What is known of the registry.
#[derive(Debug)]
pub(super) struct Registry {
    /// Which of those on the roster is asked.
    turn: usize,
    /// Since when it has not answered what it was asked.
    silent_since: Option<Instant>,
    /// When it answered last, and whether it has since been given up.
    heard: Option<Instant>,
    is_silent: bool,
    /// The roster that it has, and when to tell it (again).
    told: Option<Revision>,
    tell_at: Instant,
    /// The capsule that was asked for last, and when the next one is.
    renewed: Option<Digest>,
    renew_at: Instant,
    /// Capsules of the plan that it does not have.
    missing: BTreeSet<Digest>,
}

impl Registry {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            turn: 0,
            silent_since: None,
            heard: None,
            is_silent: false,
            told: None,
            tell_at: now,
            renewed: None,
            renew_at: now,
            missing: BTreeSet::new(),
        }
    }

    /// There is a roster to be told.
    pub(super) const fn has_news(&mut self, now: Instant) {
        self.tell_at = now;
    }
}

impl Purpose {
    /// Whether it is the registry that is asked.
    pub(super) const fn is_for_registry(&self) -> bool {
        matches!(self, Self::Resolve(_) | Self::Manifest(_) | Self::Registry(_) | Self::Renew(_))
    }
}

impl Gateway {
    /// The registry that is asked, with a place among the sessions.
    pub(super) fn registry_peer(&mut self, now: Instant) -> Option<Peer> {
        self.roster_told?;
        let all = self.registries();
        let (id, address) = *all.get(self.registry.turn.checked_rem(all.len())?)?;
        if let Some(peer) = self.link.peer(id) {
            return Some(peer);
        }
        self.link.introduce(now, id, address).ok()
    }

    /// Those on the roster of which it is known where they are.
    pub(super) fn registries(&self) -> Vec<(NodeId, SocketAddr)> {
        let place = |id: &NodeId| {
            let name = self.members.name(*id);
            let own = name.and_then(|name| self.config.registries.get(&name).copied());
            Some((*id, own.or(self.config.registry)?))
        };
        self.members.registries().iter().filter_map(place).collect()
    }

    /// Asks the registry, unless the same is asked already.
    pub(super) fn ask_registry(&mut self, now: Instant, request: Request, purpose: Purpose) {
        if self.asks.purposes().any(|known| *known == purpose) {
            return;
        }
        let Some(peer) = self.registry_peer(now) else { return };
        // If there is no room, the next time is soon enough.
        if self.asks.send(now, &mut *self.link, peer, request, purpose).is_ok() {
            self.registry.silent_since.get_or_insert(now);
        }
    }

    /// The registry has answered, or a request to it has failed.
    pub(super) fn registry_answered(&mut self, now: Instant, answer: &Answer) {
        self.registry.silent_since = None;
        if answer.code.is_none() {
            self.try_another_registry(now);
        } else {
            self.registry.heard = Some(now);
            self.registry.is_silent = false;
        }
    }

    fn try_another_registry(&mut self, now: Instant) {
        self.registry.silent_since = None;
        self.registry.is_silent = true;
        if self.registries().len() < 2 {
            return;
        }
        self.registry.turn = self.registry.turn.wrapping_add(1);
        self.registry.told = None;
        self.registry.tell_at = now;
        self.asks.cancel(now, &mut *self.link, Purpose::is_for_registry);
        self.look_up_again(now);
    }

    /// When there is something to say to the registry.
    pub(super) fn registry_timeout(&self) -> Option<Instant> {
        let told = self.roster_told?;
        if self.config.registry.is_none() && self.config.registries.is_empty() {
            return None;
        }
        let tell = (self.registry.told != Some(told)).then_some(self.registry.tell_at);
        let renew = (!self.rows.0.is_empty()).then_some(self.registry.renew_at);
        let silence = self.registry.silent_since.map(|since| since + SILENCE);
        [tell, renew, silence].into_iter().flatten().min()
    }

    /// Tells the registry the roster if it has an older one, and has it keep what runs.
    pub(super) fn advance_registry(&mut self, now: Instant) {
        if self.registry_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.registry.silent_since.is_some_and(|since| since + SILENCE <= now) {
            self.try_another_registry(now);
        }
        if self.registry.told != self.roster_told && self.registry.tell_at <= now {
            self.registry.tell_at = now + TELL_AGAIN;
            let version = self.members.version();
            let roster = self.members.bytes().to_vec();
            let request = Request::with(Code::PUT, paths::ROSTER, content_format::ROSTER, roster);
            self.ask_registry(now, request, Purpose::Registry(version));
        }
        if self.registry.renew_at <= now && !self.rows.0.is_empty() {
            self.renew(now);
        }
    }

    /// The registry has taken the roster, or not.
    pub(super) fn roster_answered(&mut self, now: Instant, revision: Revision, answer: &Answer) {
        let is_taken = answer.is_success();
        self.registry.tell_at = now + if is_taken { TELL_LATER } else { TELL_AGAIN };
        if is_taken {
            self.registry.told = Some(revision);
        }
    }

    /// Asks for the next capsule of the plan. The work is a pass over its rows.
    fn renew(&mut self, now: Instant) {
        let capsules: BTreeSet<Digest> = self.rows.iter().map(|row| row.capsule).collect();
        let next = match self.registry.renewed {
            Some(last) => capsules.range(last..).find(|digest| **digest != last),
            None => None,
        };
        let next = next.or(capsules.first()).copied();
        self.registry.missing.retain(|digest| capsules.contains(digest));
        self.registry.renew_at = now + RENEW;
        self.registry.renewed = next;
        let Some(digest) = next else { return };
        let Some(manifest) = self.catalog.manifest(&digest) else { return };
        let version = CapsuleVersion::Digest(digest);
        let mut request = Request::get(paths::TAGS);
        request.query = Some(format!("t={}", CapsuleRef { name: manifest.name, version }));
        self.ask_registry(now, request, Purpose::Renew(digest));
    }

    /// The registry keeps a capsule for another month, or does not have it.
    pub(super) fn renew_answered(&mut self, now: Instant, digest: &Digest, answer: &Answer) {
        if answer.is_success() {
            self.registry.missing.remove(digest);
        }
        if answer.code != Some(Code::NOT_FOUND) || !self.registry.missing.insert(*digest) {
            return;
        }
        let name = self.capsule_name(digest);
        let text = format!(
            "the registry does not have {name} ({digest}), which is in use: push it again, or no other \
             node can take over"
        );
        self.note(now, Level::Warning, text);
    }

    pub(super) fn registry_view(&self, now: Instant) -> RegistryView {
        let since = |at| u64::try_from(now.saturating_since(at).as_millis()).unwrap_or(u64::MAX);
        let missing = self.registry.missing.iter();
        RegistryView {
            known: u32::try_from(self.registries().len()).unwrap_or(u32::MAX),
            answers: !self.registry.is_silent && self.registry.heard.is_some(),
            heard_ms: self.registry.heard.map(since),
            missing: missing.map(|digest| self.capsule_name(digest)).collect(),
        }
    }
}
