//! Tests capsules on this machine: handlers run as they are, on a node that a test watches.
//!
//! A [`Harness`] is one instance of a capsule on a node of its own. What a test does to it comes to
//! a handler, and what the handler asked for comes back as [`Effects`]. Time passes when a test says
//! so, and nothing depends on the machine's clock.
//!
//! What it does not do: count fuel, limit memory, check records (the types do that), or carry
//! messages between capsules. That is for a real node; `capmesh-capsule` runs the module on one.

pub(crate) mod node;

pub use node::Effect;

use crate::record::Payload;
use crate::time::{Time, micros};
use crate::{
    Actuator, Capsule, Config, Input, Method, Output, Record, RequestId, Resource, Sensor, Service,
    Source, Status, Timer, simulated,
};
use node::Node;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

/// When a test's clock starts: 2026-01-01 UTC.
const EPOCH: Time = Time::from_micros(1_767_225_600_000_000);

/// An instance of a capsule on a node that a test watches.
#[derive(Debug)]
pub struct Harness<C> {
    capsule: C,
    node: Box<Node>,
    /// When each timer runs out, in microseconds since 1970.
    timers: BTreeMap<u32, i64>,
    /// Bytes and entries that each handler may leave in the outbox.
    room: (usize, usize),
}

/// Sets a node up before its capsule starts.
#[derive(Debug)]
pub struct Builder<C> {
    node: Node,
    capsule: PhantomData<fn() -> C>,
}

/// What the handlers asked for that a test has run, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects(Vec<Effect>);

/// What a capsule answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<T> {
    /// How it went.
    pub status: Status,
    /// What it sent along.
    pub body: Option<T>,
}

impl<C: Capsule> Builder<C> {
    /// Gives a configuration value, as a pipeline does.
    #[must_use]
    pub fn config<T: Configured + Copy>(mut self, key: Config<T>, value: T) -> Self {
        self.node.config.insert(key.number(), value.to_config());
        self
    }

    /// Gives a sensor its first sample.
    #[must_use]
    pub fn sample<T: Record>(mut self, sensor: Sensor<T>, sample: &T) -> Self {
        self.node.samples.insert(sensor.number(), sample.to_record().as_ref().to_vec());
        self
    }

    /// Starts the random numbers.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.node.seed = seed;
        self
    }

    /// Sets the clock, and how wrong it can be if that is known.
    #[must_use]
    pub fn time(mut self, now: Time, uncertainty: Option<Duration>) -> Self {
        self.node.time = now.as_micros();
        self.node.uncertainty = uncertainty.map_or(-1, micros);
        self
    }

    /// Limits what one handler can ask for, in bytes and entries.
    #[must_use]
    pub const fn outbox(mut self, bytes: usize, entries: usize) -> Self {
        self.node.room = (bytes, entries);
        self
    }

    /// Starts a fresh instance: its start handler runs. Returns what it asked for as well.
    #[must_use]
    pub fn start(self) -> (Harness<C>, Effects) {
        let mut harness = Harness {
            capsule: C::FRESH,
            room: self.node.room,
            node: Box::new(self.node),
            timers: BTreeMap::new(),
        };
        let effects = harness.handle(Vec::new(), C::start);
        (harness, effects)
    }
}

impl<C: Capsule> Harness<C> {
    /// Starts a fresh instance with nothing configured: its start handler runs.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start().0
    }

    /// Sets the node up first.
    #[must_use]
    pub fn builder() -> Builder<C> {
        let node = Node { time: EPOCH.as_micros(), ..Node::default() };
        Builder { node, capsule: PhantomData }
    }

    /// The capsule's state.
    #[must_use]
    pub const fn capsule(&self) -> &C {
        &self.capsule
    }

    /// Runs a handler and takes what it asked for.
    fn handle(&mut self, event: Vec<u8>, handler: impl FnOnce(&mut C)) -> Effects {
        self.node.event = event;
        self.node.room = self.room;
        self.node.response = None;
        let capsule = &mut self.capsule;
        simulated::on(&mut self.node, || handler(capsule));
        let effects = Effects(std::mem::take(&mut self.node.effects));
        for effect in &effects.0 {
            match effect {
                Effect::SetTimer { timer, micros } => {
                    let micros = i64::try_from(*micros).unwrap_or(i64::MAX);
                    self.timers.insert(*timer, self.node.time.saturating_add(micros));
                }
                Effect::CancelTimer { timer } => {
                    self.timers.remove(timer);
                }
                _ => {}
            }
        }
        effects
    }

    /// A message arrives.
    pub fn send<T: Record>(&mut self, input: Input<T>, message: &T) -> Effects {
        let record = message.to_record().as_ref().to_vec();
        let len = length(&record);
        self.handle(record, |capsule| capsule.message(input.number(), len))
    }

    /// Messages arrive one after the other.
    pub fn send_all<T: Record>(
        &mut self,
        input: Input<T>,
        messages: impl IntoIterator<Item = T>,
    ) -> Effects {
        Effects(messages.into_iter().flat_map(|message| self.send(input, &message).0).collect())
    }

    /// A digital input changes.
    pub fn event(&mut self, source: Source, value: f64) -> Effects {
        self.handle(Vec::new(), |capsule| capsule.event(source.number(), value))
    }

    /// A sensor has a new sample, which the next handler can read.
    pub fn sample<T: Record>(&mut self, sensor: Sensor<T>, sample: &T) {
        self.node.samples.insert(sensor.number(), sample.to_record().as_ref().to_vec());
    }

    /// The time on the node.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_micros(self.node.time)
    }

    /// When a timer will run out.
    #[must_use]
    pub fn timer(&self, timer: Timer) -> Option<Time> {
        self.timers.get(&timer.number()).copied().map(Time::from_micros)
    }

    /// Lets time pass. Timers run out in the order of their times, and those of one time in the order
    /// of their numbers.
    pub fn advance(&mut self, duration: Duration) -> Effects {
        let end = self.node.time.saturating_add(micros(duration));
        let mut effects = Vec::new();
        while let Some((&timer, &at)) = self.timers.iter().min_by_key(|(timer, at)| (**at, **timer))
        {
            if at > end {
                break;
            }
            self.timers.remove(&timer);
            self.node.time = self.node.time.max(at);
            effects.extend(self.handle(Vec::new(), |capsule| capsule.timer(timer)).0);
        }
        self.node.time = end;
        Effects(effects)
    }

    /// Somebody asks a resource. `None` if the capsule did not answer.
    pub fn ask<Q: Record, R: Record>(
        &mut self,
        service: Service<Q, R>,
        method: Method,
        body: Option<&Q>,
    ) -> (Option<Answer<R>>, Effects) {
        let record = body.map_or_else(Vec::new, |body| body.to_record().as_ref().to_vec());
        let (len, method) = (length(&record), u32::from(method.code()));
        self.node.can_respond = true;
        let effects = self.handle(record, |c| c.request(service.number(), method, len));
        self.node.can_respond = false;
        (self.node.response.take().map(|(status, body)| answer(status, &body)), effects)
    }

    /// A request of the capsule's is answered.
    pub fn reply<R: Record>(
        &mut self,
        request: RequestId,
        status: Status,
        body: Option<&R>,
    ) -> Effects {
        let record = body.map_or_else(Vec::new, |body| body.to_record().as_ref().to_vec());
        let (len, status) = (length(&record), u32::from(status.code()));
        self.handle(record, |capsule| capsule.reply(request.number(), status, len))
    }

    /// Runs a one-shot capsule. Returns how it went, and its result as bytes.
    pub fn run(&mut self, arguments: &impl Payload) -> (Option<(Status, Vec<u8>)>, Effects) {
        let bytes = arguments.lend(<[u8]>::to_vec);
        let len = length(&bytes);
        self.node.can_respond = true;
        let effects = self.handle(bytes, |capsule| capsule.run(len));
        self.node.can_respond = false;
        let result = self.node.response.take();
        (result.map(|(status, body)| (status_of(status), body)), effects)
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn status_of(code: u32) -> Status {
    Status::from_code(u8::try_from(code).unwrap_or(0))
}

fn answer<R: Record>(status: u32, body: &[u8]) -> Answer<R> {
    Answer { status: status_of(status), body: record(body) }
}

fn record<T: Record>(bytes: &[u8]) -> Option<T> {
    let mut record = T::ZERO;
    if bytes.is_empty() || record.as_ref().len() != bytes.len() {
        return None;
    }
    record.as_mut().copy_from_slice(bytes);
    Some(T::from_record(&record))
}

impl Effects {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages published on an output.
    #[must_use]
    pub fn published<T: Record>(&self, output: Output<T>) -> Vec<T> {
        let on_output = |effect: &Effect| match effect {
            Effect::Publish { output: number, record: bytes } if *number == output.number() => {
                record(bytes)
            }
            _ => None,
        };
        self.0.iter().filter_map(on_output).collect()
    }

    /// The requests made to a resource, with their numbers.
    #[must_use]
    pub fn asked<Q: Record, R>(&self, resource: Resource<Q, R>) -> Vec<(RequestId, Option<Q>)> {
        let (wanted_peer, wanted_resource) = resource.numbers();
        let to_resource = |effect: &Effect| match effect {
            Effect::Request { peer, resource, number, record: bytes }
                if (*peer, *resource) == (u32::from(wanted_peer), u32::from(wanted_resource)) =>
            {
                Some((RequestId::new(*number), record(bytes)))
            }
            _ => None,
        };
        self.0.iter().filter_map(to_resource).collect()
    }

    /// What an actuator was set to last.
    #[must_use]
    pub fn actuated(&self, actuator: Actuator) -> Option<f64> {
        let set = |effect: &Effect| match effect {
            Effect::Actuate { actuator: number, value } if *number == actuator.number() => {
                Some(*value)
            }
            _ => None,
        };
        self.0.iter().filter_map(set).next_back()
    }

    /// The lines of the log.
    #[must_use]
    pub fn logs(&self) -> Vec<&str> {
        fn line(effect: &Effect) -> Option<&str> {
            match effect {
                Effect::Log { text, .. } => Some(text),
                _ => None,
            }
        }
        self.0.iter().filter_map(line).collect()
    }
}

/// A configuration value as a node gives it.
pub trait Configured {
    /// Numbers as f64, texts as UTF-8.
    #[doc(hidden)]
    fn to_config(&self) -> Vec<u8>;
}

macro_rules! configured {
    ($($number:ty),*) => {$(
        impl Configured for $number {
            fn to_config(&self) -> Vec<u8> {
                f64::from(*self).to_le_bytes().to_vec()
            }
        }
    )*};
}

configured!(u8, u16, u32, i8, i16, i32, f32, f64, bool);

impl<const MAX: usize> Configured for crate::Text<MAX> {
    fn to_config(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }
}
