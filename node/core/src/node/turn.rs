//! The three verbs.

use super::Node;
use super::reach::peer_of;
use crate::flash::{Done, Op};
use crate::host::CapsuleHost;
use crate::io::{Input, Output};
use crate::router::Notice;
use capmesh_coap::endpoint::{self, Event, Outcome, Via};
use capmesh_session::{Link, Peer};
use capmesh_wire::Instant;
use core::net::SocketAddr;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Takes something that has happened. `flash` is what flash holds now.
    ///
    /// The work is that of one datagram (for a handshake, three Diffie-Hellman operations), or that of
    /// starting what waited for flash: validating a module, or restoring a snapshot.
    pub fn handle(&mut self, now: Instant, flash: &[u8], input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => self.datagram(now, flash, from, via, bytes),
            Input::Flashed(result) => {
                (self.flashing, self.store_is_full) = (false, false);
                let done = self.store.flashed(flash, result);
                if let Some(done) = done {
                    self.flashed(now, flash, &done);
                }
                if self.store.has_failed() {
                    self.flash_failed(now);
                }
            }
            Input::Sample { sensor, record } => {
                let longest = usize::try_from(SAMPLE).unwrap_or(usize::MAX);
                let sample = self.samples.get_mut(usize::from(sensor));
                if let Some(sample) = sample.filter(|_| record.len() <= longest) {
                    sample.record.clear();
                    sample.record.extend_from_slice(record);
                    sample.number = sample.number.wrapping_add(1).max(1);
                }
            }
            Input::Digital { source, value } => self.digital(source, value),
        }
    }

    /// A digital input has changed: every instance that listens hears of it.
    fn digital(&mut self, source: u8, value: f64) {
        let most = usize::from(self.config.schedule.events);
        for slot in self.instances.iter_mut() {
            let Some(running) = slot.running.as_deref_mut() else { continue };
            for (number, of_node) in (0_u8..).zip(&running.profile.sources) {
                if *of_node != source {
                    continue;
                }
                if running.changes.len() < most {
                    running.changes.push_back((number, value));
                } else {
                    slot.dropped = slot.dropped.saturating_add(1);
                }
            }
        }
    }

    // Its frame and that of what waited for flash are not to lie in one.
    #[inline(never)]
    fn datagram(&mut self, now: Instant, flash: &[u8], from: SocketAddr, via: Via, bytes: &[u8]) {
        if via == Via::Multicast && self.overhear(now, flash, bytes) {
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        if let Some(event) = self.link.handle(now, from, via, bytes, &mut scratch) {
            self.event(now, flash, event);
        }
        self.scratch = scratch;
    }

    fn event(&mut self, now: Instant, flash: &[u8], event: Event<'_, Peer>) {
        match event {
            Event::Request { .. } => self.request(now, flash, event),
            Event::Response { exchange, message, .. } => {
                let _ = self.install.response(now, exchange, message)
                    || self.site.response(now, exchange, message)
                    || self.timekeeper.response(now, exchange, message)
                    || self.restoring.iter_mut().any(|r| r.response(now, exchange, message))
                    || self.router.response(now, exchange, message);
            }
        }
    }

    fn outcome(&mut self, now: Instant, outcome: Outcome) {
        if let Outcome::ObservationEnded { observation, .. } = outcome {
            self.server.ended(observation);
            return;
        }
        let _ = self.install.outcome(now, &outcome)
            || self.site.outcome(now, &outcome)
            || self.timekeeper.outcome(now, &outcome)
            || self.restoring.iter_mut().any(|r| r.outcome(now, &outcome))
            || self.router.outcome(now, &outcome);
    }

    #[inline(never)]
    fn flashed(&mut self, now: Instant, flash: &[u8], done: &Done) {
        self.site.flashed(now, done);
        self.long_flashed(done);
        if let Some(event) = self.install.flashed(now, done, &mut self.link) {
            self.installed(now, event);
        }
        if let Done::Durable(ticket) = done {
            self.durable(now, flash, *ticket);
        }
    }

    /// What is to be done next, written to `buf`, which has to be as long as the longest datagram.
    /// `None` if there is nothing before [`Node::poll_timeout`]; if that is not later than `now`,
    /// a slice of an instance has run and there is more, but others may have come meanwhile.
    ///
    /// The work of one call is bounded by one slice of one instance, one snapshot, one signature, and
    /// one operation of the security layer.
    pub fn poll<'b>(
        &mut self,
        now: Instant,
        flash: &[u8],
        buf: &'b mut [u8],
    ) -> Option<Output<'b>> {
        if self.reboot.is_some_and(|at| at <= now) {
            self.reboot = None;
            return Some(Output::Reboot);
        }
        self.is_ready = self.site.is_ready(&self.store);
        if !self.is_ready {
            // Nobody hears of this start before flash has counted it.
            return self.poll_flash(flash, buf);
        }
        self.tick(now, flash);
        self.advance(now, flash);
        while let Some(output) = self.link.poll(now, buf) {
            match output {
                endpoint::Output::Transmit { to, len } => {
                    let bytes = buf.get(..len).unwrap_or_default();
                    return Some(Output::Transmit { to, bytes });
                }
                endpoint::Output::Outcome(outcome) => {
                    self.outcome(now, outcome);
                    self.advance(now, flash);
                }
            }
        }
        if let Some((to, len)) = self.say_to_all(now, flash, buf) {
            return Some(Output::Transmit { to, bytes: buf.get(..len).unwrap_or_default() });
        }
        if let Some((actuator, value)) = self.next_actuation() {
            return Some(Output::Actuate { actuator, value });
        }
        if let Some(output) = self.poll_flash(flash, buf) {
            return Some(output);
        }
        // What comes of it goes out with the next call.
        self.again = self.commit_one(now, flash) || self.run_slice(now);
        None
    }

    fn poll_flash<'b>(&mut self, flash: &[u8], buf: &'b mut [u8]) -> Option<Output<'b>> {
        self.again = false;
        if self.flashing {
            return None;
        }
        let op = self.store.poll(flash)?;
        self.flashing = true;
        Some(match op {
            Op::Erase { at } => Output::Erase { at },
            Op::Program { at, bytes } => {
                let room = buf.get_mut(..bytes.len())?;
                room.copy_from_slice(bytes);
                Output::Program { at, bytes: room }
            }
        })
    }

    /// When [`Node::poll`] has something to do next, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.is_ready {
            return (!self.flashing).then_some(Instant::ZERO);
        }
        if self.again || (self.reconcile && !self.flashing) {
            return Some(Instant::ZERO);
        }
        let instances = self.instances.iter().filter_map(|slot| slot.next_time()).min();
        let restoring = self.restoring.iter().filter_map(|r| r.poll_timeout()).min();
        [
            self.next_slice(),
            instances,
            restoring,
            self.reboot,
            self.next_commit(),
            self.link.poll_timeout(),
            self.router.poll_timeout(),
            self.install.poll_timeout(),
            self.site.poll_timeout(),
            self.notify_at,
            self.check_at,
            self.timekeeper.poll_timeout(),
            self.config.group.and_then(|_| self.discovery.poll_timeout()),
            self.config.group.and_then(|_| self.tidings_timeout()),
            self.speaker.as_ref().and_then(|speaker| speaker.poll_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets every part go on as far as it can.
    // Each part has a frame of its own, so that the stack is that of the deepest and not of all.
    fn advance(&mut self, now: Instant, flash: &[u8]) {
        if self.reconcile && !self.flashing {
            self.reconcile(now, flash);
        }
        self.advance_site(now, flash);
        self.advance_strangers(now);
        self.advance_install(now, flash);
        self.let_go();
        self.advance_long(now, flash);
        self.advance_restoring(now, flash);
        self.advance_neighbours(now, flash);
        self.advance_clock(now);
        self.advance_router(now);
        self.advance_server(now, flash);
    }

    fn advance_router(&mut self, now: Instant) {
        self.keep_reached(now);
        let Self { router, link, server, reached, notifies, .. } = self;
        while let Some(notice) = router.poll(now, link, &|id| peer_of(reached, id)) {
            match notice {
                Notice::Changed(path) => {
                    server.changed(path);
                    *notifies = true;
                }
                Notice::Moved { .. } => {}
            }
        }
    }

    fn next_actuation(&mut self) -> Option<(u8, f64)> {
        (0..=u8::MAX)
            .zip(&mut self.actuations)
            .find_map(|(actuator, value)| Some((actuator, value.take()?)))
    }
}

/// Bytes of a sample's record: what a record of a payload's length can take.
const SAMPLE: u32 = 4_096;
