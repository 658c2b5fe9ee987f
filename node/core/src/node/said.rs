//! Blobs that are said to all on the link.

use super::Node;
use crate::config::Config;
use crate::discovery::NEIGHBOURS;
use crate::host::CapsuleHost;
use crate::install::Blobs;
use alloc::boxed::Box;
use alloc::vec;
use capmesh_session::{Link, Peer};
use capmesh_transfer::said::{self, Heard, PIECE, Rank, Speaker};
use capmesh_wire::inventory::LinkKind;
use capmesh_wire::{Instant, Role};
use core::net::SocketAddr;

/// Where one's sending takes the air from all, blobs are said to all at once. In a frame of its own, so that
/// the start of a node needs no stack for it.
#[inline(never)]
pub(super) fn speaker(config: &Config, seed: u64) -> Option<Box<Speaker>> {
    let is_radio = config.link == LinkKind::Ieee802154 && config.group.is_some();
    is_radio.then(|| Box::new(Speaker::new(said::Config::radio(Rank::Node), seed)))
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Takes what was said to all, if it is a part of a blob or a request for some. Says whether it was.
    #[inline(never)]
    pub(super) fn overhear(&mut self, now: Instant, flash: &[u8], bytes: &[u8]) -> bool {
        let Self { install, store, speaker: Some(speaker), .. } = self else { return false };
        let Some(heard) = said::read(bytes) else {
            speaker.give_way(now);
            install.give_way(now);
            return false;
        };
        match &heard {
            Heard::Part(part) => {
                speaker.heard_part(now, part);
                speaker.give_way(now);
            }
            Heard::Ask(ask) => {
                speaker.heard_ask(now, ask, &Blobs::new(install, store, flash));
            }
        }
        install.heard(now, &heard);
        speaker.note_heard(now);
        true
    }

    /// Knows with whom it shares the link, and keeps up what is said of what it gets.
    #[inline(never)]
    pub(super) fn keep_company(&mut self, now: Instant, flash: &[u8]) {
        let Self { install, speaker: Some(speaker), discovery, config, site, store, .. } = self
        else {
            return;
        };
        let Some(group) = config.group else { return };
        let known = discovery.neighbours();
        let mut others = known.iter().filter(|it| it.role == Role::Node).count();
        if known.len() >= NEIGHBOURS
            && let Some(roster) = site.roster(flash, store)
        {
            // There are more than it remembers: anybody of the site may be near.
            others = others.max(usize::from(roster.head().count));
        }
        let others = u8::try_from(others).unwrap_or(u8::MAX);
        speaker.set_others(others);
        install.keep_company(Peer::Anonymous(group), others, speaker.is_lively(now));
        if let Some((digest, root, pieces)) = install.listens_to() {
            speaker.keep_up(now, &digest, &root, pieces);
        }
    }

    /// What is to be said to all now, in `buf`: to whom, and its length.
    #[inline(never)]
    pub(super) fn say_to_all(
        &mut self,
        now: Instant,
        flash: &[u8],
        buf: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let Self { install, store, link, speaker: Some(speaker), config, .. } = self else {
            return None;
        };
        let group = config.group?;
        if speaker.poll_timeout().is_some_and(|at| at <= now) {
            let mut scratch = vec![0; PIECE];
            let blobs = Blobs::new(install, store, flash);
            if let Some(len) = speaker.poll(now, &blobs, &mut scratch, buf) {
                return Some((group, len));
            }
        }
        let id = speaker.next_id();
        Some((group, install.say(now, link, id, buf)?))
    }
}
