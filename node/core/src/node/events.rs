//! What instances handle, slice by slice, and what becomes of what they ask for.

use super::Node;
use crate::host::{CapsuleHost, Effect, Event, HostInstance, Progress, Trap};
use crate::instances::fuel::Allowance;
use crate::instances::profile::{Profile, schema_in};
use crate::instances::{Current, Running, Slot};
use crate::log::Log;
use crate::router::{self, Ask, PublishError, Router};
use crate::trace::{Given, TRACES, Trace, Tracer, print};
use alloc::vec::Vec;
use capmesh_session::Link;
use capmesh_wire::cbor::Writer;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::log::Level;
use capmesh_wire::{Epoch, ErrorCode, InstanceId, Instant, Payload, Seq, limits};
use core::time::Duration;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Runs one slice of one instance, if any has something to do and fuel is left. Instances take
    /// turns. What its manifest says an instance always has, whatever the others do; more than that
    /// only while nobody else wants it and the node has some left. Returns whether there was one.
    pub(super) fn run_slice(&mut self, now: Instant) -> bool {
        let spare = self.fuel.has(now);
        for spares in [false, true] {
            if spares && !spare {
                return false;
            }
            for place in self.instances.in_turn() {
                let Some(slot) = self.instances.at(place) else { continue };
                if !has_work(slot, &self.router, now) {
                    continue;
                }
                let has_fuel = |running: &mut alloc::boxed::Box<Running<_>>| running.fuel.has(now);
                if spares || slot.running.as_mut().is_some_and(has_fuel) {
                    self.instances.had_turn(place);
                    self.slice(now, place);
                    return true;
                }
            }
        }
        false
    }

    /// When an instance has something to do and fuel for it.
    pub(super) fn next_slice(&self) -> Option<Instant> {
        let spare = self.fuel.next();
        let next = |slot: &Slot<H::Instance>| {
            let running = slot.running.as_deref()?;
            let event = if has_work(slot, &self.router, Instant::ZERO) {
                Instant::ZERO
            } else {
                slot.next_timer().filter(|_| !self.router.is_paused(slot.id))?
            };
            let fuel = running.fuel.next().into_iter().chain(spare).min()?;
            Some(event.max(fuel))
        };
        self.instances.iter().filter_map(next).min()
    }

    fn slice(&mut self, now: Instant, place: usize) {
        let time = self.time(now);
        let fuel = u64::from(self.config.schedule.slice);
        let Self { instances, router, samples, record, tracer, .. } = self;
        let Some(slot) = instances.at(place) else { return };
        let Some(running) = slot.running.as_deref_mut() else { return };
        let before = running.instance.fuel_used();
        let progress = if running.current.is_some() {
            running.instance.run(fuel)
        } else {
            give_samples(running, samples);
            let finishes = slot.state == InstanceState::Quiescing;
            let of = (slot.id, slot.epoch, finishes);
            match begin(now, time, of, running, router, record, tracer) {
                Begun::Handler => running.instance.run(fuel),
                Begun::NoHandler => Progress::Idle,
                Begun::Nothing => return,
                Begun::Broken => Progress::Trapped(Trap::Internal),
            }
        };
        let used = running.instance.fuel_used().saturating_sub(before);
        running.fuel.take(now, used);
        slot.meter.add(now, used);
        self.fuel.take(now, used);
        match progress {
            Progress::Suspended => {}
            Progress::Idle => self.finish(now, place, time),
            Progress::Trapped(trap) => {
                self.log_effects(now, place, time);
                self.trapped(now, place, trap);
            }
        }
    }

    /// A handler has ended well: what it asked for happens.
    fn finish(&mut self, now: Instant, place: usize, time: Timestamp) {
        let Self { instances, router, log, actuations, record, changed, tracer, .. } = self;
        let Some(slot) = instances.at(place) else { return };
        let Slot { id, epoch, running, commit, dropped, .. } = slot;
        let Some(running) = running.as_deref_mut() else { return };
        let Running { instance, profile, timers, current, asked, log: lines, silenced, .. } =
            &mut *running;
        let mut result = None;
        for effect in instance.effects() {
            match effect {
                Effect::Publish { output, record: bytes } => {
                    let seq = publish(now, time, router, *id, profile, output, bytes, record);
                    if seq.is_err() {
                        *dropped = dropped.saturating_add(1);
                    }
                    tracer.note(|| {
                        let print = print(if seq.is_ok() { record } else { bytes });
                        let output = u8::try_from(output).unwrap_or(u8::MAX);
                        let promise = router.promise(*id, output);
                        let (instance, epoch) = (*id, *epoch);
                        Trace::Published { instance, epoch, output, seq, print, promise }
                    });
                }
                Effect::Request { peer, resource, number, record: bytes } => {
                    if ask(now, router, *id, profile, (peer, resource, number), bytes, record) {
                        asked.retain(|(known, ..)| *known != number);
                        asked.push((number, peer, resource));
                    } else {
                        *dropped = dropped.saturating_add(1);
                    }
                }
                Effect::Respond { status, record: bytes } => match current {
                    Some(Current::Routed { service: Some(service) }) => {
                        respond(router, *id, profile, *service, status, bytes, record);
                    }
                    _ => {
                        let status = u8::try_from(status).unwrap_or(ERROR);
                        result = Some((status, Vec::from(bytes)));
                    }
                },
                Effect::SetTimer { timer, micros } => {
                    set_timer(timers, profile, timer, now + Duration::from_micros(micros));
                }
                Effect::CancelTimer { timer } => {
                    timers.retain(|(known, _)| u32::from(*known) != timer);
                }
                Effect::Actuate { actuator, value } => {
                    actuate(actuations, profile, actuator, value);
                }
                Effect::Log { level, text } => {
                    let line = (level, text);
                    changed.log |= write_line(now, time, *id, lines, silenced, log, line);
                }
            }
        }
        let fuel = instance.fuel_used();
        tracer.note(|| Trace::Ends { instance: *id, epoch: *epoch, trap: None, fuel });
        let done = current.take();
        running.timer_was_last = matches!(done, Some(Current::Timer(_)));
        commit.is_dirty = true;
        match done {
            Some(Current::Start) => running.is_fresh = false,
            Some(Current::Routed { .. }) => router.handled(now, *id),
            Some(Current::Run) => {
                let id = *id;
                self.ran(now, id, result, fuel);
            }
            _ => {}
        }
    }

    /// Keeps what a handler that trapped has written to the log.
    fn log_effects(&mut self, now: Instant, place: usize, time: Timestamp) {
        let Self { instances, log, changed, .. } = self;
        let Some(slot) = instances.at(place) else { return };
        let Some(running) = slot.running.as_deref_mut() else { return };
        let Running { instance, log: lines, silenced, .. } = running;
        for effect in instance.effects() {
            if let Effect::Log { level, text } = effect {
                let line = (level, text);
                changed.log |= write_line(now, time, slot.id, lines, silenced, log, line);
            }
        }
    }

    /// A handler has ended badly: what it asked for does not happen, and the instance is started anew
    /// from its last commit, after a while.
    fn trapped(&mut self, now: Instant, place: usize, trap: Trap) {
        let Some(slot) = self.instances.at(place) else { return };
        let (id, epoch) = (slot.id, slot.epoch);
        let fuel = slot.running.as_ref().map_or(0, |running| running.instance.fuel_used());
        let code = match trap {
            Trap::FuelBudget => ErrorCode::OutOfFuel,
            Trap::MemoryLimit => ErrorCode::OutOfMemory,
            Trap::Internal => ErrorCode::Internal,
            _ => ErrorCode::Trapped,
        };
        slot.running = None;
        self.tracer.note(|| Trace::Ends { instance: id, epoch, trap: Some(trap), fuel });
        self.say(now, Some(id), Level::Error, format_args!("a handler {trap}"));
        self.fault(now, id, code);
    }
}

/// The CoAP code 5.00: what a capsule's status becomes that is none.
const ERROR: u8 = 5 << 5;

/// How a turn began.
enum Begun {
    Handler,
    /// There is something, and no handler for it.
    NoHandler,
    /// There is nothing.
    Nothing,
    /// The host did not take it.
    Broken,
}

fn has_work<I: HostInstance>(slot: &Slot<I>, router: &Router, now: Instant) -> bool {
    let Some(running) = slot.running.as_deref() else { return false };
    if running.current.is_some() {
        return true;
    }
    if slot.state == InstanceState::Quiescing {
        // No more than the input that has yet to handle a message which another has handled.
        let is_between = slot.commit.writing.is_none() && !router.can_export(slot.id);
        return is_between && router.has_event(slot.id);
    }
    if slot.state != InstanceState::Running || (slot.routed && router.is_paused(slot.id)) {
        return false;
    }
    running.is_fresh
        || !running.changes.is_empty()
        || running.timers.iter().any(|(_, at)| *at <= now)
        || (slot.routed && router.has_event(slot.id))
}

/// Gives an instance the samples that it has not had.
fn give_samples<I: HostInstance>(running: &mut Running<I>, samples: &[super::Sample]) {
    let Running { instance, profile, seen, .. } = running;
    for ((number, of_node), seen) in (0_u32..).zip(&profile.sensors).zip(seen) {
        if let Some(sample) = samples.get(usize::from(*of_node))
            && sample.number != *seen
            && instance.set_sample(number, &sample.record).is_ok()
        {
            *seen = sample.number;
        }
    }
}

/// Begins the next handler of an instance: start, digital inputs, then timers and what the router
/// has, in turns.
fn begin<I: HostInstance>(
    now: Instant,
    time: Timestamp,
    (id, epoch, finishes): (InstanceId, Epoch, bool),
    running: &mut Running<I>,
    router: &mut Router,
    record: &mut Vec<u8>,
    tracer: &mut Tracer,
) -> Begun {
    let uncertainty = time.uncertainty.map(u64::from);
    let mut given = Given::Start;
    let (event, current) = if finishes {
        let Running { profile, asked, .. } = running;
        let Some(event) = router.next(id) else { return Begun::Nothing };
        given = given_by(&event);
        let event = routed(event, profile, asked, record);
        (event.0, Current::Routed { service: event.1 })
    } else if running.is_fresh {
        (Event::Start, Current::Start)
    } else if let Some((source, value)) = running.changes.pop_front() {
        (Event::Digital { source: u32::from(source), value }, Current::Change)
    } else {
        let routed_first = running.timer_was_last && router.has_event(id);
        let timer = if routed_first { None } else { running.take_timer(now) };
        match timer {
            Some(timer) => (Event::Timer { timer: u32::from(timer) }, Current::Timer(timer)),
            None => {
                let Running { profile, asked, .. } = running;
                let Some(event) = router.next(id) else { return Begun::Nothing };
                given = given_by(&event);
                let event = routed(event, profile, asked, record);
                (event.0, Current::Routed { service: event.1 })
            }
        }
    };
    given = match current {
        Current::Start | Current::Routed { .. } => given,
        Current::Timer(timer) => Given::Timer(timer),
        Current::Change => Given::Change,
        Current::Run => Given::Run,
    };
    tracer.note(|| Trace::Begins { instance: id, epoch, given });
    running.current = Some(current);
    match running.instance.begin(&event, time.micros, uncertainty) {
        Ok(true) => Begun::Handler,
        Ok(false) => Begun::NoHandler,
        Err(_) => Begun::Broken,
    }
}

/// What the router gives, for those who check it.
fn given_by(event: &router::Event<'_>) -> Given {
    match *event {
        router::Event::Message { input, stream, seq, payload, every, .. } => {
            let print = if TRACES { print(payload.as_bytes()) } else { 0 };
            Given::Message { input, stream, seq, every, print }
        }
        router::Event::Request { .. } | router::Event::Reply { .. } => Given::Call,
    }
}

/// Sets a timer, in place of the one of the same number.
fn set_timer(timers: &mut Vec<(u16, Instant)>, profile: &Profile, timer: u32, at: Instant) {
    let number = u16::try_from(timer).unwrap_or(u16::MAX);
    timers.retain(|(known, _)| *known != number);
    if timers.len() < usize::from(profile.limits.timers) {
        timers.push((number, at));
    }
}

/// Notes what one of the node's actuators is to be set to.
fn actuate(actuations: &mut [Option<f64>], profile: &Profile, actuator: u32, value: f64) {
    let of_node = usize::try_from(actuator).ok().and_then(|at| profile.actuators.get(at));
    let actuation = of_node.and_then(|at| actuations.get_mut(usize::from(*at)));
    if let Some(actuation) = actuation {
        *actuation = Some(value);
    }
}

/// Writes a line of a capsule's to the log, if it may. Says whether it did.
fn write_line(
    now: Instant,
    time: Timestamp,
    id: InstanceId,
    allowance: &mut Allowance,
    silenced: &mut u32,
    log: &mut Log,
    (level, text): (u32, &[u8]),
) -> bool {
    let may = allowance.has(now);
    if may {
        allowance.take(now, 1);
        let dropped = core::mem::take(silenced);
        if dropped > 0 {
            let text = format_args!("{dropped} lines before this one were dropped");
            log.node(time, Some(id), Level::Warning, text);
        }
        log.capsule(time, id, level, text);
    } else {
        *silenced = silenced.saturating_add(1);
    }
    may
}

/// What the router gave as the capsule's contract has it: payloads as records. A payload that has no
/// schema here, or does not fit it, is an empty record: the router has checked those that count.
fn routed<'r>(
    event: router::Event<'_>,
    profile: &Profile,
    asked: &mut Vec<(u32, u32, u32)>,
    record: &'r mut Vec<u8>,
) -> (Event<'r>, Option<u8>) {
    match event {
        router::Event::Message { input, payload, .. } => {
            let schema = profile.inputs.get(usize::from(input)).map(AsRef::as_ref);
            let record = to_record(schema, payload.as_bytes(), record);
            (Event::Message { input: u32::from(input), record }, None)
        }
        router::Event::Request { service, method, payload } => {
            let known = profile.services.get(usize::from(service));
            let schema = known.and_then(|service| service.request.as_deref());
            let payload = to_record(schema, payload, record);
            (Event::Request { resource: u32::from(service), method, payload }, Some(service))
        }
        router::Event::Reply { number, status, payload } => {
            let place = asked.iter().position(|(known, ..)| *known == number);
            let schema = place.map(|at| asked.swap_remove(at)).and_then(|(_, peer, resource)| {
                profile.asked(peer, resource)?.schemas.response.as_deref()
            });
            (Event::Reply { number, status, payload: to_record(schema, payload, record) }, None)
        }
    }
}

fn to_record<'r>(schema: Option<&[u8]>, payload: &[u8], record: &'r mut Vec<u8>) -> &'r [u8] {
    record.clear();
    let Some(schema) = schema.and_then(schema_in) else { return record };
    let Ok(payload) = Payload::new(payload) else { return record };
    record.resize(schema.record_len(), 0);
    if schema.to_record(payload, record).is_err() {
        record.clear();
    }
    record
}

/// Encodes a record as its schema says. `None` if it does not fit.
fn to_payload<'b>(schema: &[u8], bytes: &[u8], buf: &'b mut Vec<u8>) -> Option<Payload<'b>> {
    buf.resize(limits::PAYLOAD, 0);
    let mut writer = Writer::new(buf);
    schema_in(schema)?.write_record(bytes, &mut writer).ok()?;
    let len = writer.finish().ok()?;
    Payload::new(buf.get(..len)?).ok()
}

#[expect(clippy::too_many_arguments, reason = "what an effect and its surroundings consist of")]
fn publish(
    now: Instant,
    sampled: Timestamp,
    router: &mut Router,
    id: InstanceId,
    profile: &Profile,
    output: u32,
    bytes: &[u8],
    buf: &mut Vec<u8>,
) -> Result<Seq, PublishError> {
    let output = u8::try_from(output).map_err(|_| PublishError::Unknown)?;
    let schema = profile.outputs.get(usize::from(output)).ok_or(PublishError::Unknown)?;
    let len = to_payload(schema, bytes, buf).map(|payload| payload.as_bytes().len());
    buf.truncate(len.ok_or(PublishError::Schema)?);
    let payload = Payload::new(buf).map_err(|_| PublishError::Schema)?;
    router.publish(now, id, output, sampled, payload)
}

fn ask(
    now: Instant,
    router: &mut Router,
    id: InstanceId,
    profile: &Profile,
    (peer, resource, number): (u32, u32, u32),
    bytes: &[u8],
    buf: &mut Vec<u8>,
) -> bool {
    let Some(asked) = profile.asked(peer, resource) else { return false };
    let Ok(peer) = u8::try_from(peer) else { return false };
    let payload = match &asked.schemas.request {
        None => &[][..],
        Some(schema) => match to_payload(schema, bytes, buf) {
            Some(payload) => payload.as_bytes(),
            None => return false,
        },
    };
    let ask = Ask { number, peer, service: &asked.name, payload };
    router.ask(now, id, ask).is_ok()
}

fn respond(
    router: &mut Router,
    id: InstanceId,
    profile: &Profile,
    service: u8,
    status: u32,
    bytes: &[u8],
    buf: &mut Vec<u8>,
) {
    let schema = profile.services.get(usize::from(service));
    let payload = match schema.and_then(|service| service.response.as_deref()) {
        _ if bytes.is_empty() => Some(&[][..]),
        None => Some(&[][..]),
        Some(schema) => to_payload(schema, bytes, buf).map(|payload| payload.as_bytes()),
    };
    // There is nobody to answer any more, if it says so.
    let _ = match payload {
        Some(payload) => router.respond(id, status, payload),
        None => router.respond(id, u32::from(ERROR), &[]),
    };
}
