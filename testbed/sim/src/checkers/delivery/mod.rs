//! `every` wires lose nothing, repeat nothing and keep order, per stream.
//!
//! Source: the promises of [`capmesh_node::router`]. What is checked, exactly:
//!
//! - An instance's *ledger* is what it has handled of each stream at each input, and what it has published
//!   on each output. Taking its state saves the ledger beside it, and going on from that state goes back to
//!   that ledger: so handlers that no commit covers do not count, and may run again. An instance that
//!   begins afresh in the same epoch goes back to where it began.
//! - What an input handles next of a stream has the number after the last in its ledger, or all numbers
//!   between were passed over: since their handler trapped, or because the producer's wires declare that
//!   they may be dropped, or because the producer never used them.
//! - It is the message that the producer published with that number, by the bytes of its payload, and the
//!   producer's ledger still has it: nothing leaves before a commit covers it.
//! - A producer's numbers rise.
//! - At rest, every message that was published more than [`PATIENCE`] ago was handled by everybody who has
//!   handled a message of its stream before and is in the plan.
//!
//! Where an instance goes on from a checkpoint, or begins afresh in a new epoch, because its node is lost,
//! a new *line* of its messages begins, in which all this holds anew. Its consumers may miss what the old
//! line had; they may not handle anything of it once they have had something of the new one: so a stale copy
//! is harmless.
//!
//! What leaves the mesh for MQTT is checked in the same way: see `broker.rs`.

mod broker;
mod lines;
mod saved;

use super::{Checker, Life, Mesh, Planned, Verdict, Violation};
use crate::{Event, Host};
use broker::Broker;
use capmesh_node::router::PublishError;
use capmesh_node::trace::{Given, Promise, Restored, Trace};
use capmesh_wire::message::Stream;
use capmesh_wire::{Digest, Epoch, InstanceId, Instant};
use lines::{Known, Lines, Number, said};
use saved::{Cursor, Ledger, Port, Saved};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// How long a message may take while nothing goes wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Delivery {
    instances: BTreeMap<u32, Instance>,
    lines: Lines,
    broker: Broker,
    without: Vec<Host>,
}

#[derive(Debug, Default)]
struct Instance {
    /// Those that are up.
    copies: HashMap<Host, Copy>,
    /// The newest epoch that it was up in.
    newest: Epoch,
    /// The newest line. A stale copy goes on with its own.
    line: Number,
    saved: Saved,
    /// What each input had first of each stream in this line: where it begins again if it begins afresh.
    firsts: BTreeMap<Port, Cursor>,
    /// Messages whose handler trapped.
    passed: BTreeSet<(Port, u64)>,
}

#[derive(Debug)]
struct Copy {
    line: Number,
    ledger: Ledger,
    handles: Option<Given>,
}

/// Messages of an instance whose handlers trapped that are remembered.
const PASSED: usize = 4_096;

impl Checker for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn see(&mut self, at: Instant, event: &Event) -> Verdict {
        match event {
            Event::Node { host, trace } => {
                self.trace(at, *host, trace).map_err(|wrong| wrong.on(*host))
            }
            Event::Owned { instance, path, by: Some(_), .. } => {
                self.broker.has_come(*instance, path);
                Ok(())
            }
            Event::Owned { instance, by: None, .. } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.forget();
                }
                Ok(())
            }
            Event::Crashed { host } => {
                self.instances.values_mut().for_each(|instance| {
                    instance.copies.remove(host);
                });
                Ok(())
            }
            Event::Mqtt { topic, payload, durable, .. } => {
                self.broker.see(at, &mut self.lines, (topic, payload), *durable)
            }
            Event::Healed { without } => {
                self.without = without.to_vec();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        let plan = mesh.plan();
        let runs = |row: &&Planned| {
            let has = mesh.instances(row.host).unwrap_or_default();
            has.iter().any(|of| of.instance == row.instance && of.life == Life::Runs)
        };
        let is_new = |of: &lines::Message| at.saturating_since(of.at) <= PATIENCE;
        let lives = |id: u32| plan.iter().find(|row| row.instance == id).filter(runs);
        // Of a producer that has begun a new line, nothing of the old one is owed: also if it has not
        // published anything in the new one yet.
        let is_in = |id: u32| Some(self.instances.get(&id)?.copies.get(&lives(id)?.host)?.line);
        let missed = self.broker.missed(&self.lines, is_in, is_new);
        let wrong = missed.or_else(|| self.broker.wrong_status(mesh, &self.without));
        if let Some(seen) = wrong {
            return Err(Violation::new("mqtt", at, seen).should("what the mesh shows"));
        }
        for (id, instance) in &self.instances {
            let Some(copy) = lives(*id).and_then(|row| instance.copies.get(&row.host)) else {
                continue;
            };
            for (port, cursor) in &copy.ledger.inputs {
                let is_excused = |seq| instance.passed.contains(&(*port, seq));
                let end = u64::MAX;
                let missed =
                    self.lines.missed(port.stream, cursor.line, cursor.next, end, is_excused);
                if let Some(missed) = missed.filter(|of| !is_new(of))
                    && is_in(port.stream.instance.0) == Some(cursor.line)
                {
                    let what = said(port.stream, missed.seq);
                    let seen = format!("{what} of {} us was not handled", missed.at.as_micros());
                    return Err(Violation::new(self.name(), at, seen)
                        .should("at rest every message has arrived")
                        .of(*id));
                }
            }
        }
        Ok(())
    }
}

impl Delivery {
    fn trace(&mut self, at: Instant, host: Host, trace: &Trace) -> Verdict {
        match *trace {
            Trace::Up { instance, epoch, capsule, from, .. } => {
                self.up(at, host, instance, (epoch, capsule), from)
            }
            Trace::Down { instance, .. } => {
                self.instances.entry(instance.0).or_default().copies.remove(&host);
                Ok(())
            }
            Trace::Begins { instance, given, .. } => self.begins(at, host, instance, given),
            Trace::Ends { instance, trap, .. } => {
                let instance = self.instances.entry(instance.0).or_default();
                let Some(copy) = instance.copies.get_mut(&host) else { return Ok(()) };
                let given = copy.handles.take();
                if let Some(Given::Message { input, stream, seq, .. }) = given
                    && trap.is_some()
                {
                    instance.passed.insert((Port { input, stream }, seq.0));
                    if instance.passed.len() > PASSED {
                        instance.passed.pop_first();
                    }
                }
                Ok(())
            }
            Trace::Published { instance, output, seq: Ok(seq), print, promise, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                let Some(copy) = found.copies.get_mut(&host) else { return Ok(()) };
                copy.ledger.outputs.insert(output, seq.0 + 1);
                let (stream, message) = (Stream { instance, output }, (seq.0, print));
                self.lines
                    .publish(at, stream, copy.line, promise, message)
                    .map_err(|wrong| wrong.of(instance.0))
            }
            Trace::Published {
                instance,
                seq: Err(PublishError::Full),
                promise: Promise::Every,
                ..
            } => {
                let seen = "a message was not taken, though its wires make the producer wait";
                Err(Violation::new("delivery", at, seen).of(instance.0))
            }
            Trace::Taken { instance, print, .. } => {
                let found = self.instances.entry(instance.0).or_default();
                if let Some(copy) = found.copies.get(&host) {
                    found.saved.save(print, copy.line, copy.ledger.clone());
                }
                Ok(())
            }
            Trace::Published { .. } | Trace::Kept { .. } => Ok(()),
        }
    }

    fn up(
        &mut self,
        at: Instant,
        host: Host,
        id: InstanceId,
        (epoch, capsule): (Epoch, Digest),
        from: Option<Restored>,
    ) -> Verdict {
        let found = self.instances.entry(id.0).or_default();
        let saved = from.and_then(|from| found.saved.find(from.print));
        // From a checkpoint it goes on without what it did after that.
        let is_exact =
            |from: Restored| from.epoch >= epoch || from.is_last || from.capsule != capsule;
        let (line, ledger) = match (saved, from.is_some_and(is_exact)) {
            (Some((line, mut ledger)), true) => {
                for (port, first) in found.firsts.iter().filter(|_| line == found.line) {
                    ledger.inputs.entry(*port).or_insert(*first);
                }
                (line, ledger)
            }
            (saved, _) => {
                let line = found.begin(epoch);
                let inputs =
                    if line == found.line { found.firsts.clone() } else { BTreeMap::new() };
                let outputs = saved.map(|(_, ledger)| ledger.outputs).unwrap_or_default();
                (line, Ledger { inputs, outputs })
            }
        };
        let outputs: Vec<_> = ledger.outputs.iter().map(|(o, next)| (*o, *next)).collect();
        found.copies.insert(host, Copy { line, ledger, handles: None });
        // What was handed over goes on elsewhere, in the same line.
        let is_stale = epoch < found.newest && line == found.line;
        found.newest = found.newest.max(epoch);
        if is_stale {
            return Ok(());
        }
        (0..=MOST_OUTPUTS).try_for_each(|output| {
            let next = outputs.iter().find(|(o, _)| *o == output).map_or(0, |(_, next)| *next);
            self.lines.roll_back(at, Stream { instance: id, output }, line, next)
        })
    }

    fn begins(&mut self, at: Instant, host: Host, id: InstanceId, given: Given) -> Verdict {
        let found = self.instances.entry(id.0).or_default();
        let Some(copy) = found.copies.get_mut(&host) else {
            let seen = "a handler runs in an instance that is not up";
            return Err(Violation::new("delivery", at, seen).of(id.0));
        };
        copy.handles = Some(given);
        let Given::Message { input, stream, seq, every: true, print } = given else {
            return Ok(());
        };
        let port = Port { input, stream };
        let known = copy.ledger.inputs.get(&port).copied();
        let before = known.unwrap_or_default();
        let what = said(stream, seq.0);
        let wrong = |seen: &str, should: String| {
            Err(Violation::new("delivery", at, format!("{what} {seen}")).should(should).of(id.0))
        };
        let line = match self.lines.handled(stream, before, seq.0, print) {
            Known::In(line) => line,
            Known::Nothing => before.line,
            Known::Wrong => {
                let should = "what its producer published, and not of an older line";
                return wrong("is handled and is not what was published", should.into());
            }
        };
        if let Some(cursor) = known.filter(|cursor| cursor.line == line) {
            if seq.0 < cursor.next {
                return wrong("is handled again", format!("#{} or later", cursor.next));
            }
            let is_excused = |seq| found.passed.contains(&(port, seq));
            let missed = self.lines.missed(stream, line, cursor.next, seq.0, is_excused);
            if let Some(missed) = missed {
                return wrong("is handled next", format!("#{} comes before", missed.seq));
            }
        }
        let cursor = Cursor { line, next: seq.0 + 1 };
        if copy.line == found.line {
            found.firsts.entry(port).or_insert(Cursor { line, next: seq.0 });
        }
        copy.ledger.inputs.insert(port, cursor);
        Ok(())
    }
}

impl Instance {
    /// It is nobody's any more. Its number may be given to another one, whose epochs and numbers begin anew.
    fn forget(&mut self) {
        self.newest = Epoch(0);
        self.line = Number { life: self.line.life + 1, epoch: Epoch(0) };
        self.firsts.clear();
        self.saved = Saved::default();
    }

    /// The line that begins in an epoch: a new one, unless it did so before.
    fn begin(&mut self, epoch: Epoch) -> Number {
        let line = Number { epoch, ..self.line };
        if line > self.line {
            self.line = line;
            self.firsts.clear();
        }
        line
    }
}

/// The highest number of an output that is looked at.
const MOST_OUTPUTS: u8 = 15;

#[cfg(test)]
mod tests;
