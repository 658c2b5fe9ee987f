//! Those on the link: neighbours, and what is said to all.

use super::Install;
use super::listen::Company;
use super::work::rank;
use crate::download::Download;
use capmesh_coap::server::Outbox;
use capmesh_session::Peer;
use capmesh_transfer::said::Heard;
use capmesh_wire::{Digest, Instant};

impl Install {
    /// Blobs may be said to this group, on which so many other nodes hear them, and lately something was said
    /// or not. Without others they are fetched.
    pub fn keep_company(&mut self, group: Peer, others: u8, is_lively: bool) {
        let company = Company { others, is_first: false, is_lively };
        self.company = (others > 0).then_some((group, company));
    }

    /// The blob that is listened to, by its digest and its root, and how many pieces it has.
    pub fn listens_to(&mut self) -> Option<(Digest, Digest, u16)> {
        let download = self.work.as_mut()?.download()?;
        let pieces = download.pieces();
        let (digest, root) = download.listener()?.blob();
        Some((digest, root, pieces))
    }

    /// Something was said to all on the link. The work is that of opening it.
    pub fn heard(&mut self, now: Instant, heard: &Heard<'_>) {
        let download = self.work.as_mut().and_then(|work| work.download());
        match (download.and_then(Download::listener), heard) {
            (Some(listener), Heard::Part(part)) => listener.heard_part(now, part),
            (Some(listener), Heard::Ask(ask)) => listener.heard_ask(now, ask),
            (None, _) => {}
        }
    }

    /// Somebody has sent something else to all: the air is not free.
    pub fn give_way(&mut self, now: Instant) {
        let download = self.work.as_mut().and_then(|work| work.download());
        if let Some(listener) = download.and_then(Download::listener) {
            listener.give_way(now);
        }
    }

    /// Asks for what is lacking of what is said to all: a datagram for the group, with this number, in `buf`;
    /// its length.
    pub fn say(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<Peer>,
        id: u16,
        buf: &mut [u8],
    ) -> Option<usize> {
        self.work.as_mut()?.say(now, out, id, buf)
    }

    /// A neighbour is there and may have what is wanted.
    pub fn neighbour(&mut self, now: Instant, peer: Peer) {
        if !self.neighbours.contains(&peer) {
            if self.neighbours.is_full() {
                self.neighbours.remove(0);
            }
            let _ = self.neighbours.push(peer);
        }
        if let Some(download) = self.work.as_mut().and_then(|work| work.download()) {
            download.add(now, peer, rank(peer));
        }
    }
}
