//! What can be seen of a mesh: everything that checkers, the trace hash and the timeline are made of.
//!
//! The world tells an [`Event`] whenever something happens, in the order in which it does. Events hold no
//! more than what somebody needs: datagrams are told by a print of their bytes, and so are messages and
//! states.

use crate::Host;
use capmesh_node::trace::{Given, Trace};
use capmesh_wire::Instant;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Something has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A host gave a datagram to the network.
    Sent {
        /// Who.
        from: Host,
        /// To whom.
        to: Host,
        /// How many bytes.
        len: u16,
        /// What they are.
        print: u64,
    },
    /// A datagram, or a copy of one, will not arrive.
    Lost {
        /// Whose.
        from: Host,
        /// For whom.
        to: Host,
        /// How many bytes.
        len: u16,
        /// What they were.
        print: u64,
        /// Why.
        why: Loss,
    },
    /// A datagram is given to a host. It need not be one that was sent: bits fall over, and somebody
    /// may forge it.
    Arrived {
        /// From whom it seems to be.
        from: Host,
        /// For whom.
        to: Host,
        /// How many bytes.
        len: u16,
        /// What they are.
        print: u64,
    },
    /// A host encrypted something. Told before the datagram that it is sent in, if it is sent.
    Sealed {
        /// Who.
        host: Host,
        /// A print of the key.
        key: u64,
        /// The nonce.
        nonce: [u8; 13],
    },
    /// A host starts: a node, the gateway, the registry.
    Booted {
        /// Who.
        host: Host,
        /// How often it has by now.
        boots: u32,
    },
    /// A host goes off as it is, with what was not durable lost.
    Crashed {
        /// Who.
        host: Host,
    },
    /// What a node does.
    Node {
        /// Which.
        host: Host,
        /// What.
        trace: Trace,
    },
    /// A node sets an actuator.
    Actuated {
        /// Which node.
        host: Host,
        /// Its actuator.
        actuator: u8,
        /// The value's bits.
        bits: u64,
    },
    /// A commit of the gateway is durable. What it publishes is told after it, as it reaches the broker.
    Committed {
        /// How many there were.
        number: u64,
        /// How many keys it changes.
        changes: u32,
        /// How many publications go to the durable outbox with it.
        publications: u32,
        /// Of its content.
        print: u64,
    },
    /// The gateway's durable plan gives an instance to a node, or to none any more.
    Owned {
        /// The instance.
        instance: u32,
        /// What MQTT topics call it: `pipeline--name`, and `--replica` behind that but for the first.
        path: Arc<str>,
        /// Its epoch.
        epoch: u32,
        /// Its node.
        by: Option<Host>,
    },
    /// A message reaches the MQTT broker.
    Mqtt {
        /// Its topic.
        topic: Arc<str>,
        /// Its payload.
        payload: Arc<[u8]>,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
        /// Whether it came from the durable outbox. What a broker is given twice, since its first answer
        /// was lost, is told twice.
        durable: bool,
    },
    /// A message of somebody else's reaches the gateway from the broker.
    FromMqtt {
        /// Its topic.
        topic: Arc<str>,
        /// Its payload.
        payload: Arc<[u8]>,
    },
    /// A migration comes to a step, or ends.
    Moves {
        /// The instance.
        instance: u32,
        /// The epoch that it gets.
        epoch: u32,
        /// How far it is, for people.
        step: Arc<str>,
    },
    /// The gateway takes another node than it had for lost, or for found again.
    Reachable {
        /// The node.
        host: Host,
        /// Whether it is heard of.
        online: bool,
    },
    /// A person or program asks the gateway for something.
    Asked {
        /// The request's number.
        id: u64,
        /// What, for people.
        what: Arc<str>,
    },
    /// The gateway answers.
    Answered {
        /// The request's number.
        id: u64,
        /// Whether it was done.
        ok: bool,
        /// What it said if not, for people.
        what: Arc<str>,
    },
    /// The script does something to the mesh.
    Done {
        /// What, for people.
        what: Arc<str>,
    },
    /// Everything that the script has done to a core of the mesh is over: from now on it may take only so
    /// long until all is as it should be. [`Event::Done`] ends that.
    Healed {
        /// The nodes that are off or out of reach, and stay so.
        without: Arc<[Host]>,
    },
    /// A line of somebody's log.
    Said {
        /// Whose.
        host: Host,
        /// The line.
        text: Arc<str>,
    },
}

/// Why a datagram does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The link lost it, or one of its frames.
    Link,
    /// The link's queue was full.
    Full,
    /// The two do not hear each other now.
    Cut,
    /// It is longer than the link takes.
    TooLong,
    /// Nobody is there, or it is off.
    Nobody,
}

impl Event {
    /// The node that it is about, if it is about one.
    #[must_use]
    pub const fn host(&self) -> Option<Host> {
        match self {
            Self::Sent { from, .. } | Self::Lost { from, .. } => Some(*from),
            Self::Arrived { to, .. } => Some(*to),
            Self::Sealed { host, .. }
            | Self::Booted { host, .. }
            | Self::Crashed { host }
            | Self::Node { host, .. }
            | Self::Actuated { host, .. }
            | Self::Reachable { host, .. }
            | Self::Said { host, .. } => Some(*host),
            Self::Owned { by, .. } => *by,
            _ => None,
        }
    }

    /// The instance that it is about, if it is about one.
    #[must_use]
    pub const fn instance(&self) -> Option<u32> {
        match self {
            Self::Node { trace, .. } => Some(match trace {
                Trace::Up { instance, .. }
                | Trace::Down { instance, .. }
                | Trace::Begins { instance, .. }
                | Trace::Ends { instance, .. }
                | Trace::Published { instance, .. }
                | Trace::Taken { instance, .. }
                | Trace::Kept { instance, .. } => instance.0,
            }),
            Self::Owned { instance, .. } | Self::Moves { instance, .. } => Some(*instance),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { from, to, len, print } => {
                write!(f, "{from} -> {to}: {len} bytes, {print:016x}")
            }
            Self::Lost { from, to, len, print, why } => {
                write!(f, "{from} -x {to}: {len} bytes, {print:016x} ({why})")
            }
            Self::Arrived { from, to, len, print } => {
                write!(f, "{to} <- {from}: {len} bytes, {print:016x}")
            }
            Self::Sealed { host, key, nonce, .. } => {
                write!(f, "{host} seals with key {key:016x}, nonce ")?;
                nonce.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Booted { host, boots } => write!(f, "{host} starts, the {boots}. time"),
            Self::Crashed { host } => write!(f, "{host} goes off"),
            Self::Node { host, trace } => write!(f, "{host} {}", Told(trace)),
            Self::Actuated { host, actuator, bits } => {
                write!(f, "{host} sets actuator {actuator} to {}", f64::from_bits(*bits))
            }
            Self::Committed { number, changes, publications, .. } => {
                write!(f, "commit {number}: {changes} changes, {publications} publications")
            }
            Self::Owned { instance, path, epoch, by: Some(by) } => {
                write!(f, "instance {instance}, {path}, is {by}'s in epoch {epoch}")
            }
            Self::Owned { instance, epoch, by: None, .. } => {
                write!(f, "instance {instance} is nobody's since epoch {epoch}")
            }
            Self::Mqtt { topic, payload, retain, durable } => {
                let kind = if *durable { "durable" } else { "latest" };
                let kept = if *retain { ", kept" } else { "" };
                write!(f, "MQTT {topic} {} ({kind}{kept})", payload.escape_ascii())
            }
            Self::FromMqtt { topic, payload } => {
                write!(f, "from MQTT {topic} {}", payload.escape_ascii())
            }
            Self::Moves { instance, epoch, step } => {
                write!(f, "instance {instance} moves to epoch {epoch}: {step}")
            }
            Self::Reachable { host, online: true } => write!(f, "{host} is heard of"),
            Self::Reachable { host, online: false } => write!(f, "{host} is lost"),
            Self::Asked { id, what } => write!(f, "request {id}: {what}"),
            Self::Answered { id, ok: true, .. } => write!(f, "request {id} is done"),
            Self::Answered { id, ok: false, what } => write!(f, "request {id} is refused: {what}"),
            Self::Done { what } => write!(f, "*** {what}"),
            Self::Healed { without } => write!(f, "*** healed, but for {without:?}"),
            Self::Said { host, text } => write!(f, "{host} says: {text}"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "lost",
            Self::Full => "the queue is full",
            Self::Cut => "cut off",
            Self::TooLong => "too long",
            Self::Nobody => "nobody is there",
        })
    }
}

/// A trace in words.
struct Told<'a>(&'a Trace);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Trace::Up { instance, epoch, runs, from, .. } => {
                let how = if runs { "runs" } else { "is up, on its way elsewhere" };
                write!(f, "instance {instance} {how} in epoch {epoch}, ")?;
                match from {
                    None => f.write_str("afresh"),
                    Some(from) => write!(f, "from {:016x} of epoch {}", from.print, from.epoch),
                }
            }
            Trace::Down { instance, epoch } => {
                write!(f, "instance {instance} of epoch {epoch} is down")
            }
            Trace::Begins { instance, given, .. } => match given {
                Given::Start => write!(f, "instance {instance} starts"),
                Given::Timer(timer) => write!(f, "instance {instance} handles timer {timer}"),
                Given::Change => write!(f, "instance {instance} handles a change"),
                Given::Message { input, stream, seq, every, print } => {
                    let wire = if every { "every" } else { "latest" };
                    let (of, output) = (stream.instance, stream.output);
                    write!(f, "instance {instance} handles {of}/{output}#{seq} ")?;
                    write!(f, "on input {input} ({wire}, {print:016x})")
                }
                Given::Call => write!(f, "instance {instance} handles a call"),
                Given::Run => write!(f, "instance {instance} runs once"),
            },
            Trace::Ends { instance, trap: None, .. } => {
                write!(f, "instance {instance} has handled it")
            }
            Trace::Ends { instance, trap: Some(trap), .. } => {
                write!(f, "instance {instance}: its handler {trap}")
            }
            Trace::Published { instance, output, seq: Ok(seq), print, .. } => {
                write!(f, "instance {instance} publishes {instance}/{output}#{seq} ({print:016x})")
            }
            Trace::Published { instance, output, seq: Err(why), print, .. } => {
                write!(f, "instance {instance} cannot publish on {output} ({print:016x}): {why}")
            }
            Trace::Taken { instance, print, moves, .. } => {
                let last = if moves { "the last " } else { "" };
                write!(f, "instance {instance}: {last}state {print:016x} is taken")
            }
            Trace::Kept { instance, .. } => write!(f, "instance {instance}: its state is durable"),
        }
    }
}

/// What stands for a whole run: the same for the same seed, or something is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Takes in that something has happened.
    pub fn add(&mut self, at: Instant, event: &Event) {
        self.write_u64(at.as_micros());
        event.hash(self);
    }
}

/// Words are mixed as a whole: a mesh has millions of events.
impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.write_u64(i.into());
    }

    fn write_u16(&mut self, i: u16) {
        self.write_u64(i.into());
    }

    fn write_u32(&mut self, i: u32) {
        self.write_u64(i.into());
    }

    fn write_u64(&mut self, i: u64) {
        self.0 = (self.0 ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn write_usize(&mut self, i: usize) {
        self.write_u64(i as u64);
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.finish())
    }
}
