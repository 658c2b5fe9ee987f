//! A world in virtual time for tests: machines, and a network between them that loses, duplicates,
//! delays and reorders.
//!
//! Time jumps from one thing that happens to the next; everything repeats from the seed. The machine
//! can be an [`Endpoint`](crate::Endpoint) with an application around it, or anything else that is
//! driven by datagrams and time.

extern crate std;

use crate::endpoint::Via;
use capmesh_wire::Instant;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use rand_core::{CryptoRng, RngCore};
use std::collections::BTreeMap;
use std::vec::Vec;

/// Longer than every datagram of a test.
const LONGEST: usize = 2048;

/// Datagrams that one machine may send at one instant before it counts as caught in a loop.
const MOST_AT_ONCE: usize = 10_000;

/// What takes datagrams, sends datagrams, and knows when it wants to be polled.
pub trait Machine {
    /// Takes a datagram.
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]);

    /// Writes the next datagram to `buf` and returns where it goes and its length, or `None` if there
    /// is nothing to do before `poll_timeout`. Outcomes are the machine's own affair.
    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)>;

    /// When to poll next.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// A small generator of random numbers (SplitMix64): good enough for faults, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall in an order that the seed decides.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from the range, or its start if it is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        let span = range.end.saturating_sub(range.start).max(1);
        range.start + self.roll() % span
    }

    /// `true` in that many of 100 cases.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.within(0..100) < u64::from(percent)
    }

    /// 16 bytes, as an endpoint's seed.
    pub const fn seed(&mut self) -> [u8; 16] {
        (((self.roll() as u128) << 64) | self.roll() as u128).to_le_bytes()
    }
}

/// Keys of tests come from dice as well.
impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        let [.., a, b, c, d] = self.roll().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn next_u64(&mut self) -> u64 {
        self.roll()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Dice {}

/// What the network does to datagrams.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How many of 100 are lost.
    pub loss: u8,
    /// How many of 100 arrive twice.
    pub duplication: u8,
    /// How long they take. The wider the range, the more of them overtake others.
    pub delay: Range<Duration>,
}

impl Faults {
    /// Everything arrives once, in order, after a millisecond.
    pub const NONE: Self =
        Self { loss: 0, duplication: 0, delay: Duration::from_millis(1)..Duration::from_millis(1) };
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it goes: a machine's address or a group's.
    pub to: SocketAddr,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Machines at addresses, the network between them, and the time.
#[derive(Debug)]
pub struct World<M> {
    /// The time.
    pub now: Instant,
    /// What the network does from now on.
    pub faults: Faults,
    /// The machines. One may be taken out (it is down: what arrives is lost) and another put in (it
    /// has rebooted).
    pub machines: BTreeMap<SocketAddr, M>,
    /// Everything that was sent, lost or not, with the time; for a test to look at.
    pub sent: Vec<(Instant, Datagram)>,
    on_the_way: BTreeMap<(Instant, u64), Datagram>,
    order: u64,
    dice: Dice,
}

impl<M: Machine> World<M> {
    /// A world without machines, at time zero.
    #[must_use]
    pub const fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: Instant::ZERO,
            faults,
            machines: BTreeMap::new(),
            sent: Vec::new(),
            on_the_way: BTreeMap::new(),
            order: 0,
            dice: Dice::new(seed),
        }
    }

    /// The machine at an address.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[expect(clippy::panic, reason = "a test has made a mistake")]
    pub fn machine(&mut self, at: SocketAddr) -> &mut M {
        self.machines.get_mut(&at).unwrap_or_else(|| panic!("no machine at {at}"))
    }

    /// Puts a datagram on its way, as if its sender had sent it, and lets the network do to it what
    /// it does.
    pub fn send(&mut self, datagram: &Datagram) {
        self.sent.push((self.now, datagram.clone()));
        if self.dice.percent(self.faults.loss) {
            return;
        }
        let copies = 1 + u8::from(self.dice.percent(self.faults.duplication));
        for _ in 0..copies {
            let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
            let Range { start, end } = self.faults.delay;
            let delay = Duration::from_micros(self.dice.within(micros(start)..micros(end)));
            self.order += 1;
            self.on_the_way.insert((self.now + delay, self.order), datagram.clone());
        }
    }

    /// Sends what the machines have to send now.
    ///
    /// # Panics
    /// If a machine does not come to rest, or wants to be polled at once when it has just said that
    /// there is nothing to do.
    pub fn flush(&mut self) {
        let mut buf = std::vec![0; LONGEST];
        let addresses: Vec<_> = self.machines.keys().copied().collect();
        for from in addresses {
            for sent in 0.. {
                assert!(sent < MOST_AT_ONCE, "{from} does not come to rest");
                let now = self.now;
                let Some((to, len)) = self.machine(from).poll(now, &mut buf) else { break };
                let bytes = buf.get(..len).unwrap_or_default().to_vec();
                self.send(&Datagram { from, to, bytes });
            }
            let next = self.machine(from).poll_timeout();
            assert!(next.is_none_or(|at| at > self.now), "{from} is idle but wants to be polled");
        }
    }

    /// When something happens next.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
        self.machines.values().filter_map(M::poll_timeout).chain(arrival).min()
    }

    /// Flushes, and goes on to when something happens next: everything that arrives then is
    /// delivered and everything due is done. Returns whether anything is left to happen.
    pub fn step(&mut self) -> bool {
        self.flush();
        let Some(next) = self.next_event() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.on_the_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let datagram = entry.remove();
            self.deliver(&datagram);
        }
        self.flush();
        true
    }

    /// Steps until `until`, or until nothing is left to happen. Returns whether something is.
    pub fn run_until(&mut self, until: Instant) -> bool {
        self.flush();
        while self.next_event().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
        self.next_event().is_some()
    }

    /// Runs for as long as anything happens.
    ///
    /// # Panics
    /// If something still happens after `limit`.
    pub fn run_to_rest(&mut self, limit: Instant) {
        assert!(!self.run_until(limit), "something still happens at {limit}");
    }

    fn deliver(&mut self, datagram: &Datagram) {
        let Datagram { from, to, bytes } = datagram;
        if to.ip().is_multicast() {
            for (at, machine) in &mut self.machines {
                if at != from {
                    machine.handle(self.now, *from, Via::Multicast, bytes);
                }
            }
        } else if let Some(machine) = self.machines.get_mut(to) {
            machine.handle(self.now, *from, Via::Unicast, bytes);
        }
    }
}
