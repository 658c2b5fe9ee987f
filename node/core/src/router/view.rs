//! How full a router is, for those who check it.

use super::Router;
use crate::trace::Gauge;
use alloc::vec::Vec;

impl Router {
    /// Appends how full its tables and queues are: of inboxes and outboxes the fullest.
    pub(crate) fn gauges(&self, gauges: &mut Vec<Gauge>) {
        let mut add = |name, has: usize, most: usize| {
            let (has, most) = (has as u64, most as u64);
            gauges.push(Gauge { name, has, most });
        };
        let config = &self.config;
        add(
            "router: instances",
            self.instances.len(),
            usize::from(config.instances) + usize::from(config.released),
        );
        add("router: batches held", self.held.len(), config.held.into());
        add("router: requests of capsules", self.asks.len(), config.asks.into());
        add("router: requests to capsules", self.served.len(), config.served.into());
        for instance in &self.instances {
            let (inbox, outbox) = (instance.inbox_bounds, instance.outbox_bounds);
            let filling = instance.inbox.filling();
            add("inbox: messages", filling.messages, inbox.messages);
            add("inbox: bytes", filling.bytes, inbox.bytes);
            add("outbox: messages", instance.outbox.messages, outbox.messages);
            add("outbox: bytes", instance.outbox.bytes, outbox.bytes);
        }
    }
}
