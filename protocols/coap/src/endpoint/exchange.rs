//! Outgoing messages that wait for something, and the addresses they go to.

use super::hash::Address;
use super::table::{Chains, Link, NONE, Table};
use super::types::{Failure, ObservationId, Reliability};
use crate::message::Token;
use capmesh_wire::Instant;

/// An outgoing message in a slot, whose bytes are among the messages under the same number.
#[derive(Debug)]
pub(super) struct Exchange<P, B> {
    pub(super) purpose: Purpose<P, B>,
    pub(super) phase: Phase,
    /// The address it goes to, as a slot of [`Remotes`].
    pub(super) remote: u16,
    /// The next slot in the same queue.
    pub(super) link: u16,
    /// Id of the message that was sent last. The one that is kept has another id if it is a
    /// notification that came after that.
    pub(super) id: u16,
    /// Whether the id is in the index of ids, so that an acknowledgement or reset finds the slot.
    pub(super) indexed: bool,
    /// Whether it counts as outstanding (NSTART).
    pub(super) counted: bool,
    pub(super) retransmissions: u8,
    /// Microseconds from the last transmission to the next.
    pub(super) timeout: u32,
    /// When it is given up while it is held; set the first time it is, [`Instant::ZERO`] before.
    pub(super) held_until: Instant,
    /// Bytes that may still be sent (see [`Config::amplification`](super::Config::amplification)).
    pub(super) budget: u32,
}

/// Where an outgoing message has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for other interactions with the same address to end.
    Queued,
    /// Is sent when its timer runs out, mostly at once.
    Ready,
    /// Waits for the security layer.
    Held,
    /// Sent; neither acknowledged nor answered.
    Sent,
    /// Acknowledged, or as good as that; the response is to come.
    Waiting,
    /// An observation in which responses come and go.
    Observing,
    /// Over; to be reported, as failed or as finished.
    Ended(Option<Failure>),
}

/// What an outgoing message is for.
#[derive(Debug)]
pub(super) enum Purpose<P, B> {
    Request(Request<P, B>),
    /// A confirmable response; with it an observation starts.
    Response(Option<ObservationId>),
    /// A confirmable notification of the observer in this slot.
    Notification(u16),
    /// A response to a multicast request.
    GroupResponse,
    Ping,
}

#[derive(Debug)]
pub(super) struct Request<P, B> {
    pub(super) peer: P,
    /// What sealed it; `None` while the inner message is kept.
    pub(super) binding: Option<B>,
    pub(super) token: Token,
    pub(super) reliability: Reliability,
    pub(super) to_group: bool,
    pub(super) wants_response: bool,
    pub(super) has_echo: bool,
    pub(super) restarts: u8,
    pub(super) observe: Observe,
}

/// A client's observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Observe {
    No,
    Asked,
    /// Sequence number and time of the newest notification (RFC 7641 section 3.4).
    Running(u32, Instant),
    /// The other side has been asked to end it.
    Ending,
}

impl<P, B> Request<P, B> {
    /// Whether everybody is asked, in a build that knows groups.
    pub(super) const fn is_to_group(&self) -> bool {
        super::GROUPS && self.to_group
    }
}

impl<P, B> Exchange<P, B> {
    pub(super) const fn new(purpose: Purpose<P, B>, remote: u16) -> Self {
        Self {
            purpose,
            phase: Phase::Queued,
            remote,
            link: NONE,
            id: 0,
            indexed: false,
            counted: false,
            retransmissions: 0,
            timeout: 0,
            held_until: Instant::ZERO,
            budget: u32::MAX,
        }
    }

    pub(super) const fn is_confirmable(&self) -> bool {
        match &self.purpose {
            Purpose::Request(request) => matches!(request.reliability, Reliability::Confirmable),
            Purpose::GroupResponse => false,
            Purpose::Response(_) | Purpose::Notification(_) | Purpose::Ping => true,
        }
    }

    /// Whether it takes its turn among the interactions with its address.
    pub(super) const fn takes_turns(&self) -> bool {
        match &self.purpose {
            Purpose::Request(request) => !request.is_to_group(),
            Purpose::GroupResponse => false,
            Purpose::Response(_) | Purpose::Notification(_) | Purpose::Ping => true,
        }
    }
}

/// A queue of exchanges that are linked by their slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { head: NONE, tail: NONE }
    }

    pub(super) fn push<P, B, const N: usize>(
        &mut self,
        exchanges: &mut Table<Exchange<P, B>, N>,
        slot: u16,
    ) {
        if let Some(exchange) = exchanges.get_mut(slot) {
            exchange.link = NONE;
        }
        match exchanges.get_mut(self.tail) {
            Some(last) => last.link = slot,
            None => self.head = slot,
        }
        self.tail = slot;
    }

    pub(super) fn pop<P, B, const N: usize>(
        &mut self,
        exchanges: &Table<Exchange<P, B>, N>,
    ) -> Option<u16> {
        let first = self.head;
        self.head = exchanges.get(first)?.link;
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(first)
    }

    /// Takes one out of the middle, in as many steps as the queue is long.
    pub(super) fn remove<P, B, const N: usize>(
        &mut self,
        exchanges: &mut Table<Exchange<P, B>, N>,
        slot: u16,
    ) {
        let (mut before, mut at) = (NONE, self.head);
        while at != slot {
            let Some(exchange) = exchanges.get(at) else { return };
            (before, at) = (at, exchange.link);
        }
        let after = exchanges.get(slot).map_or(NONE, |exchange| exchange.link);
        match exchanges.get_mut(before) {
            Some(exchange) => exchange.link = after,
            None => self.head = after,
        }
        if self.tail == slot {
            self.tail = before;
        }
    }
}

/// The addresses that outgoing messages are for, each once.
#[derive(Debug)]
pub(super) struct Remotes<const N: usize> {
    table: Table<Remote, N>,
    index: Chains<[Link; N]>,
}

#[derive(Debug)]
pub(super) struct Remote {
    pub(super) address: Address,
    /// Exchanges that are for this address.
    users: u16,
    /// Of these, the outstanding ones.
    pub(super) outstanding: u16,
    /// Those that wait for their turn.
    pub(super) queue: Queue,
}

impl<const N: usize> Remotes<N> {
    pub(super) fn new() -> Self {
        Self { table: Table::new(), index: Chains::new() }
    }

    /// The slot of an address, for one more exchange. There are as many slots as exchanges.
    pub(super) fn acquire(&mut self, address: Address) -> Option<u16> {
        let is_it = |slot| self.table.get(slot).is_some_and(|remote| remote.address == address);
        if let Some(slot) = self.index.find(address.bits(), is_it) {
            self.table.get_mut(slot)?.users += 1;
            return Some(slot);
        }
        let remote = Remote { address, users: 1, outstanding: 0, queue: Queue::new() };
        let (slot, _) = self.table.insert(remote)?;
        self.index.insert(address.bits(), slot);
        Some(slot)
    }

    pub(super) fn release(&mut self, slot: u16) {
        let Some(remote) = self.table.get_mut(slot) else { return };
        remote.users -= 1;
        if remote.users == 0 {
            self.index.remove(remote.address.bits(), slot);
            self.table.remove(slot);
        }
    }

    pub(super) fn get(&self, slot: u16) -> Option<&Remote> {
        self.table.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u16) -> Option<&mut Remote> {
        self.table.get_mut(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use core::net::SocketAddr;
    use std::vec::Vec;

    type Exchanges = Table<Exchange<(), ()>, 4>;

    fn exchanges() -> Exchanges {
        let mut exchanges = Exchanges::new();
        for _ in 0..4 {
            exchanges.insert(Exchange::new(Purpose::Ping, 0)).unwrap();
        }
        exchanges
    }

    fn drain(queue: &mut Queue, exchanges: &Exchanges) -> Vec<u16> {
        core::iter::from_fn(|| queue.pop(exchanges)).collect()
    }

    #[test]
    fn a_queue_keeps_its_order_whatever_is_taken_out() {
        for (out, rest) in [(0, [2, 1]), (2, [0, 1]), (1, [0, 2])] {
            let (mut exchanges, mut queue) = (exchanges(), Queue::new());
            [0, 2, 1].into_iter().for_each(|slot| queue.push(&mut exchanges, slot));
            queue.remove(&mut exchanges, out);
            queue.remove(&mut exchanges, 3);
            queue.push(&mut exchanges, 3);
            assert_eq!(drain(&mut queue, &exchanges), [rest[0], rest[1], 3]);
            assert_eq!(queue.pop(&exchanges), None);
        }
    }

    #[test]
    fn an_address_has_one_slot_for_as_long_as_it_is_used() {
        let secret = super::super::hash::Secret::new([0; 16]);
        let mut remotes = Remotes::<2>::new();
        let acquire = |remotes: &mut Remotes<2>, port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            remotes.acquire(secret.address(address))
        };
        let a = acquire(&mut remotes, 1).unwrap();
        assert_eq!(acquire(&mut remotes, 1), Some(a));
        assert!(acquire(&mut remotes, 2).is_some());
        assert_eq!(acquire(&mut remotes, 3), None);
        remotes.release(a);
        assert_eq!(acquire(&mut remotes, 3), None);
        remotes.release(a);
        assert_eq!(acquire(&mut remotes, 3), Some(a));
    }
}
