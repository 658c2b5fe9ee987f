//! What peers have answered.

use super::{Gateway, Purpose};
use crate::asks::Answer;
use crate::nodes::{Heard, INVENTORY, LOG, News, STATUS};
use crate::reconcile::{Duty, RENEWED_AFTER};
use capmesh_coap::Message;
use capmesh_coap::endpoint::{ExchangeId, Outcome};
use capmesh_session::Peer;
use capmesh_wire::control::Reply;
use capmesh_wire::log::LogLine;
use capmesh_wire::{Instant, NodeId, cbor};
use core::time::Duration;

impl Gateway {
    /// A response has come.
    pub(super) fn response(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        peer: Peer,
        message: &Message<'_>,
        last: bool,
    ) {
        if let Some(member) = peer.member()
            && let Some((watch, bytes)) =
                self.watched(now, member.id, peer, exchange, message, last)
        {
            if let Some(bytes) = bytes {
                self.observed(now, member.id, watch, bytes);
            }
            return;
        }
        if let Some(ended) = self.asks.response(now, &mut *self.link, exchange, message) {
            if let Some((purpose, answer)) = ended {
                self.answered(now, purpose, &answer);
            }
            return;
        }
        if self.checkpoints.response(now, exchange, *message) {
            return;
        }
        self.bridge.response(now, exchange, message, &mut self.store);
    }

    /// Something has ended that no response has ended.
    pub(super) fn outcome(&mut self, now: Instant, outcome: &Outcome) {
        match outcome {
            Outcome::Failed { exchange, .. } | Outcome::Finished { exchange } => {
                if let Some((purpose, answer)) = self.asks.outcome(outcome) {
                    self.answered(now, purpose, &answer);
                } else if !self.checkpoints.outcome(now, outcome)
                    && !self.bridge.outcome(now, outcome, &mut self.store)
                {
                    self.nodes.ended(now, *exchange);
                }
            }
            Outcome::ObservationEnded { observation, .. } => self.server.ended(*observation),
        }
    }

    /// Takes a response if it is one to an observation of a node's: which, and the state if it is whole.
    fn watched(
        &mut self,
        now: Instant,
        id: NodeId,
        peer: Peer,
        exchange: ExchangeId,
        message: &Message<'_>,
        last: bool,
    ) -> Option<(usize, Option<Vec<u8>>)> {
        let node = self.nodes.get_mut(id)?;
        for (at, watch) in node.watches.iter_mut().enumerate() {
            match watch.response(now, &mut *self.link, peer, exchange, message, last) {
                Heard::Other => {}
                Heard::Part => return Some((at, None)),
                Heard::Whole(bytes) => return Some((at, Some(bytes))),
            }
        }
        None
    }

    fn observed(&mut self, now: Instant, id: NodeId, watch: usize, bytes: Vec<u8>) {
        match watch {
            STATUS => self.status(now, id, bytes),
            INVENTORY => {
                let news = self.nodes.inventory(now, &mut self.store, id, bytes);
                if news == Some(News::Inventory) {
                    self.node_changed(now, id);
                    self.plan_soon(now);
                }
            }
            LOG => self.lines(now, id, &bytes),
            _ => {}
        }
    }

    fn status(&mut self, now: Instant, id: NodeId, bytes: Vec<u8>) {
        let Some(news) = self.nodes.status(now, &mut *self.link, id, bytes) else { return };
        // Only those who watch want to know each time that a node is still there.
        if news != News::Time || self.bridge.is_watched() {
            self.node_changed(now, id);
            self.instances_changed(now, id);
        }
        self.moves_look(now, id);
    }

    /// Takes the lines of a node's log that are new.
    fn lines(&mut self, now: Instant, id: NodeId, bytes: &[u8]) {
        let boots = self.nodes.get(id).and_then(|node| node.status()).map_or(0, |s| s.boots);
        let seen = self.nodes.get(id).and_then(|node| node.lines);
        let seen = seen.filter(|(of, _)| *of == boots).map(|(_, number)| number);
        let mut newest = seen;
        let mut reader = cbor::Reader::new(bytes);
        let mut lines = Vec::new();
        while !reader.is_at_end() {
            let line: LogLine<'_> = cbor::Decode::read(&mut reader);
            if reader.status().is_err() {
                break;
            }
            if seen.is_none_or(|seen| line.number > seen) {
                newest = newest.max(Some(line.number));
                lines.push(self.line_view(now, id, &line));
            }
        }
        if let (Some(node), Some(newest)) = (self.nodes.get_mut(id), newest) {
            node.lines = Some((boots, newest));
        }
        lines.into_iter().for_each(|line| self.keep_line(line));
    }

    fn answered(&mut self, now: Instant, purpose: Purpose, answer: &Answer) {
        if purpose.is_for_registry() {
            self.registry_answered(now, answer);
        }
        match purpose {
            Purpose::Probe(id) => {
                if answer.is_success() {
                    self.status(now, id, answer.body.clone());
                }
            }
            Purpose::Duty(id, duty) => self.duty_answered(now, id, duty, answer),
            Purpose::Claim(id) => self.claim_answered(now, id, answer),
            Purpose::Tell(id) => self.tell_answered(now, id, answer),
            Purpose::Step(instance, epoch, end, step) => {
                self.step_answered(now, instance, epoch, (end, step), answer);
            }
            Purpose::Resolve(reference) => self.resolve_answered(now, &reference, answer),
            Purpose::Manifest(digest) => self.manifest_answered(now, &digest, answer),
            Purpose::Order(request, id, done) => self.order_answered(request, id, done, answer),
            Purpose::Registry(revision) => self.roster_answered(now, revision, answer),
            Purpose::Renew(digest) => self.renew_answered(now, &digest, answer),
        }
    }

    fn duty_answered(&mut self, now: Instant, id: NodeId, duty: Duty, answer: &Answer) {
        let random = self.random();
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !answer.is_success() {
            let (code, retry) = answer.problem();
            let retry = retry.map(|ms| Duration::from_millis(u64::from(ms)));
            let refused = answer.code.map(|_| code);
            node.duties.fail(now, duty, refused, retry, random);
            self.nodes.touch(now, id);
            return;
        }
        node.duties.done(now, duty, random);
        if let (Duty::Renew(instance), Ok(Reply::Renewed(moment))) =
            (duty, cbor::decode(&answer.body))
        {
            let lease = self.rows.get(instance).and_then(|row| row.lease_ms).unwrap_or_default();
            let part = Duration::from_millis(u64::from(lease)) / RENEWED_AFTER;
            let heard = node.moment.map_or(Instant::ZERO, |(_, at)| at);
            node.note_moment(now, moment);
            if now.saturating_since(heard) > part * 2 {
                // The lease counts from what the node said long ago: it gets a better one at once.
                node.duties.hurry(duty);
            }
        }
        // What was taken before the instance began afresh is of no use.
        if let Duty::Checkpoint(instance, epoch) = duty
            && let Ok(Reply::Snapshot(blob)) = cbor::decode(&answer.body)
            && let Some(row) = self.row_of(id, instance).filter(|row| row.epoch == epoch)
            && let Some(peer) = self.link.peer(id)
        {
            let mtu = self.link.mtu();
            let what = (instance, epoch, row.capsule);
            self.checkpoints.fetch(now, what, &blob, peer, mtu, random);
        }
        self.nodes.touch(now, id);
    }
}
