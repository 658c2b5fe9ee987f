//! Wires between two instances of one node.

use super::Router;
use super::handle::{Offer, Offered};
use super::instance::State;
use super::output::Stored;
use capmesh_wire::message::Stream;
use capmesh_wire::{InstanceId, Instant, Seq, limits};

impl Router {
    /// Moves messages on an `every` wire between two instances of this node: at most a batch.
    pub(super) fn hand_over(&mut self, now: Instant, at: usize, number: usize) {
        let Some(instance) = self.instances.get(at) else { return };
        let Some(link) = instance.links.get(number) else { return };
        let Some(output) = instance.outputs.get(usize::from(link.output)) else { return };
        let stream = Stream { instance: instance.id, output: link.output };
        let (consumer, start, epoch) =
            (link.consumer, link.next.max(output.oldest()), instance.epoch);
        let Some(tag) = instance.shapes.get(output.shape).map(|shape| shape.tag) else { return };
        let Some(to) = self.index(consumer) else { return };
        let own = self.own;
        let Some(target) = self.instances.get_mut(to).filter(|i| i.state == State::Running) else {
            return;
        };
        let Some(input) = target.input_mut(stream).filter(|i| i.every && i.node == own) else {
            return;
        };
        let (committed, mut next) = (input.committed, input.next);
        if target.admit(stream, epoch, tag).is_err() {
            self.stats.refused = self.stats.refused.saturating_add(1);
            let (least, most) = (self.config.retry_min, self.config.retry_max);
            if let Some(link) = self.link(at, number) {
                link.back_off(now, None, least, most);
            }
            return;
        }
        for _ in 0..limits::BATCH {
            let Some(stored) = self.stored(at, number, next) else { break };
            if stored.seq > next {
                self.skip(to, stream, stored.seq);
            }
            next = stored.seq.next();
            if self.offer_stored(to, stream, &stored) == Offered::Full {
                break;
            }
            self.dirty = true;
        }
        if let Some(instance) = self.instances.get_mut(at) {
            if let Some(link) = instance.links.get_mut(number) {
                link.next = link.next.max(committed).max(start);
            }
            instance.trim();
        }
    }

    /// Gives what is new of an output to the instances of this node that `latest` wires lead to.
    pub(super) fn pass_on(&mut self, at: usize, output: u8) {
        let own = self.own;
        let links = self.instances.get(at).map_or(0, |instance| instance.links.len());
        for number in 0..links {
            let Some(link) = self.link(at, number) else { continue };
            if link.node != own || link.every || link.output != output {
                continue;
            }
            let consumer = link.consumer;
            // What waited for a commit and may go now is still in the queue, unless nobody needs it.
            while let Some(stored) = self.newer(at, number) {
                if let Some(link) = self.link(at, number) {
                    link.next = stored.seq.next();
                }
                self.deliver_latest(at, output, consumer, &stored);
            }
        }
    }

    fn deliver_latest(&mut self, at: usize, output: u8, consumer: InstanceId, stored: &Stored) {
        let Some(instance) = self.instances.get(at) else { return };
        let stream = Stream { instance: instance.id, output };
        let shape = instance.outputs.get(usize::from(output)).map(|output| output.shape);
        let tag = shape.and_then(|shape| instance.shapes.get(shape)).map(|shape| shape.tag);
        let Some(tag) = tag else { return };
        let (epoch, own) = (instance.epoch, self.own);
        let Some(to) = self.index(consumer) else { return };
        let Some(target) = self.instances.get_mut(to).filter(|i| i.state == State::Running) else {
            return;
        };
        let is_wired = target.input_mut(stream).is_some_and(|i| !i.every && i.node == own);
        if is_wired && target.admit(stream, epoch, tag).is_ok() {
            self.offer_stored(to, stream, stored);
        } else {
            self.stats.refused = self.stats.refused.saturating_add(1);
        }
    }

    fn offer_stored(&mut self, to: usize, stream: Stream, stored: &Stored) -> Offered {
        let Some(payload) = stored.payload() else { return Offered::Unfit };
        let (seq, sampled, arrived) = (stored.seq, stored.sampled, self.arrival());
        self.offer(to, Offer { stream, seq, sampled, payload, arrived })
    }

    /// The first message of a link's output with this number or a higher one that may be sent.
    fn stored(&self, at: usize, number: usize, seq: Seq) -> Option<Stored> {
        let instance = self.instances.get(at)?;
        let link = instance.links.get(number)?;
        let output = instance.outputs.get(usize::from(link.output))?;
        let stored = output.queue.get(output.find(seq))?;
        (stored.seq < output.released).then(|| stored.clone())
    }

    /// The next message for a `latest` link of this node.
    fn newer(&self, at: usize, number: usize) -> Option<Stored> {
        let next = self.instances.get(at)?.links.get(number)?.next;
        self.stored(at, number, next).or_else(|| {
            let instance = self.instances.get(at)?;
            let link = instance.links.get(number)?;
            let newest = instance.outputs.get(usize::from(link.output))?.newest.as_ref()?;
            (newest.seq >= next).then(|| newest.clone())
        })
    }
}
