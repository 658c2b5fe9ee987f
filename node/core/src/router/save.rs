//! What a commit holds of an instance's messages.
//!
//! The sections `inbox` and `outbox` of a snapshot are [`Batch`]es one after another: those of the
//! outbox are of the instance's own streams, those of the inbox of the streams that end at it, in the
//! order of arrival.

use super::batch::write_messages;
use super::inbox::Entry;
use super::instance::{Instance, Pending, State, ports_of};
use super::output::Stored;
use super::{AddError, Origin, Router};
use alloc::vec::Vec;
use capmesh_wire::cbor::{Decode, Reader, Writer};
use capmesh_wire::message::{Batch, Stream};
use capmesh_wire::snapshot::{InputCursor, OutputCursor, SectionKind, Snapshot};
use capmesh_wire::{DecodeError, Epoch, InstanceId, Instant, Payload, SchemaTag, Seq, limits};

/// How much of an instance's messages to put into a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What is needed to go on after a crash. What was accepted and not handled is left out: it is not
    /// acknowledged either, so its senders still have it.
    Commit,
    /// Everything, for another node to go on exactly. What is in the inbox is acknowledged with it.
    Move,
}

/// What a commit holds of an instance's messages: fields and sections of a
/// [`snapshot`](capmesh_wire::snapshot). It can be used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Where the instance's streams go on.
    pub outputs: Vec<OutputCursor>,
    /// What it has had of other streams.
    pub inputs: Vec<InputCursor>,
    /// The section [`SectionKind::Inbox`].
    pub inbox: Vec<u8>,
    /// The section [`SectionKind::Outbox`].
    pub outbox: Vec<u8>,
}

/// Names a commit that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u32);

impl Router {
    /// Whether an instance takes part in commits: an `every` wire begins or ends at it.
    #[must_use]
    pub fn commits(&self, instance: InstanceId) -> bool {
        self.index(instance).and_then(|at| self.instances.get(at)).is_some_and(|i| i.commits)
    }

    /// When a commit should be taken at the latest. `None` if there is nothing that one would cover, or
    /// one is being written.
    #[must_use]
    pub fn commit_due(&self, instance: InstanceId) -> Option<Instant> {
        let found = self.index(instance).and_then(|at| self.instances.get(at))?;
        if !found.commits || found.uncovered == 0 || found.pending.is_some() {
            return None;
        }
        let is_urgent = found.uncovered >= self.config.commit_after
            || found.inbox.is_pressed(found.inbox_bounds)
            || found.is_paused();
        let wait = if is_urgent { core::time::Duration::ZERO } else { self.config.commit_delay };
        Some(found.uncovered_since + wait)
    }

    /// Whether the state of an instance can be taken now: no handler runs, and none of two inputs that
    /// a message is for has handled it while the other has not.
    #[must_use]
    pub fn can_export(&self, instance: InstanceId) -> bool {
        let found = self.index(instance).and_then(|at| self.instances.get(at));
        found.is_some_and(Instance::is_quiescent)
    }

    /// Gives what a commit has to hold. The caller writes it to flash together with the instance's
    /// state of this moment, and says then [`Router::committed`] or [`Router::abandoned`]; a newer
    /// export makes an older one void. The work is one pass over inbox and outbox.
    ///
    /// `None` if there is no such instance, or if a handler is running or has failed, or if one input of
    /// two that a message is for has handled it and the other has not: then it is too early.
    pub fn export(
        &mut self,
        instance: InstanceId,
        extent: Extent,
        export: &mut Export,
    ) -> Option<Mark> {
        let at = self.index(instance)?;
        let found = self.instances.get_mut(at)?;
        if !found.is_quiescent() {
            return None;
        }
        if matches!(found.state, State::Released(..)) {
            return None;
        }
        export.inbox.clear();
        export.outbox.clear();
        found.export_cursors(extent, export);
        found.export_inbox(extent, &mut export.inbox);
        found.export_outbox(&mut export.outbox);
        found.mark = found.mark.wrapping_add(1);
        let uncovered = core::mem::take(&mut found.uncovered);
        let before = found.pending.map_or(0, |pending| pending.uncovered);
        let uncovered = uncovered.saturating_add(before);
        found.pending = Some(Pending { mark: found.mark, uncovered });
        found.inbox.export();
        for output in &mut found.outputs {
            output.exported = Some(output.next);
        }
        Some(Mark(found.mark))
    }

    /// Says that a commit has been written: what it covers may be sent and acknowledged now. The work
    /// is what is released and forgotten.
    pub fn committed(&mut self, instance: InstanceId, mark: Mark) {
        let Some(at) = self.index(instance) else { return };
        let Some(found) = self.instances.get_mut(at) else { return };
        if found.pending.is_none_or(|pending| pending.mark != mark.0) {
            return;
        }
        found.pending = None;
        found.inbox.committed();
        for input in &mut found.inputs {
            if let Some(next) = input.exported.take() {
                input.committed = input.committed.max(next);
            }
        }
        for output in &mut found.outputs {
            if let Some(next) = output.exported.take().filter(|_| output.every) {
                output.release(next);
            }
        }
        found.settle();
        self.dirty = true;
    }

    /// Says that a commit was not written: it is due again.
    pub fn abandoned(&mut self, instance: InstanceId, mark: Mark) {
        let Some(at) = self.index(instance) else { return };
        let Some(found) = self.instances.get_mut(at) else { return };
        if let Some(pending) = found.pending.take_if(|pending| pending.mark == mark.0) {
            found.uncovered = found.uncovered.saturating_add(pending.uncovered.max(1));
            for output in &mut found.outputs {
                output.exported = None;
            }
            for input in &mut found.inputs {
                input.exported = None;
            }
            found.settle();
        }
    }
}

impl Instance {
    /// Whether no handler is half-way, and none has failed whose effects are still to be undone.
    fn is_quiescent(&self) -> bool {
        self.current.is_none() && !self.failing && !self.is_between()
    }

    fn export_cursors(&mut self, extent: Extent, export: &mut Export) {
        let Self { inputs, outputs, inbox, .. } = self;
        export.outputs.clear();
        let numbered = (0_u8..).zip(&*outputs);
        export
            .outputs
            .extend(numbered.map(|(output, port)| OutputCursor { output, next: port.next }));
        export.inputs.clear();
        for input in inputs {
            let handled = inbox.next_of(input.stream).unwrap_or(input.next);
            let next = match extent {
                Extent::Commit if input.every => handled.max(input.committed),
                Extent::Commit | Extent::Move => input.next,
            };
            input.exported = Some(next);
            if input.seen || next > Seq::default() {
                let (stream, epoch) = (input.stream, input.epoch);
                export.inputs.push(InputCursor { stream, epoch, next });
            }
        }
    }

    /// What the cursors say was had and was not handled.
    fn export_inbox(&self, extent: Extent, buf: &mut Vec<u8>) {
        let covers = |entry: &&Entry| {
            let input = self.inputs.iter().find(|input| input.stream == entry.stream);
            input.is_some_and(|input| {
                extent == Extent::Move
                    || entry.every && input.exported.is_some_and(|next| entry.seq < next)
            })
        };
        let mut run: Vec<Stored> = Vec::new();
        let mut of = None;
        for entry in self.inbox.unhandled().filter(covers) {
            if of.is_some_and(|stream| stream != entry.stream) {
                self.append_run(of, &mut run, buf);
            }
            of = Some(entry.stream);
            if let Ok(payload) = Payload::new(&entry.payload) {
                run.push(Stored::new(entry.seq, entry.sampled, payload));
            }
        }
        self.append_run(of, &mut run, buf);
    }

    /// Writes messages of one stream that came one after the other, and forgets them.
    fn append_run(&self, stream: Option<Stream>, run: &mut Vec<Stored>, buf: &mut Vec<u8>) {
        let input = stream.and_then(|s| self.inputs.iter().find(|input| input.stream == s));
        if let Some(input) = input
            && let Some(shape) = self.shapes.get(input.shape)
        {
            append(input.stream, input.epoch, shape.tag, run.iter(), buf);
        }
        run.clear();
    }

    fn export_outbox(&self, buf: &mut Vec<u8>) {
        for (output, port) in (0_u8..).zip(&self.outputs) {
            if let Some(shape) = self.shapes.get(port.shape) {
                let stream = Stream { instance: self.id, output };
                append(stream, self.epoch, shape.tag, port.queue.iter(), buf);
            }
        }
    }
}

/// Appends messages of one stream as batches.
fn append<'m>(
    stream: Stream,
    epoch: Epoch,
    tag: SchemaTag,
    mut messages: impl Iterator<Item = &'m Stored> + Clone,
    buf: &mut Vec<u8>,
) {
    while let Some(first) = messages.clone().next() {
        let len = buf.len();
        buf.resize(len + BATCH, 0);
        let mut writer = Writer::new(buf.get_mut(len..).unwrap_or_default());
        let end = write_messages(stream, epoch, tag, first.seq, messages.clone(), &mut writer);
        let written = writer.len();
        // One message always fits.
        let end = end.filter(|end| *end > first.seq);
        buf.truncate(len + if end.is_some() { written } else { 0 });
        while messages.clone().next().is_some_and(|m| end.is_none_or(|end| m.seq < end)) {
            messages.next();
        }
    }
}

/// Bytes of a batch in a section.
const BATCH: usize = 2_048;

const _: () = assert!(limits::PAYLOAD + 80 <= BATCH);

/// Takes over from a snapshot what an instance, whose wires are there, has had and has to send.
/// Numbers that no commit covers go on from `base` where they cannot go on exactly.
pub(super) fn restore(
    instance: &mut Instance,
    origin: Origin<'_>,
    base: Seq,
    arrivals: &mut u64,
) -> Result<(), AddError> {
    let (snapshot, exact) = match origin {
        Origin::Fresh => (None, false),
        Origin::Restarted(snapshot) | Origin::Recovered(snapshot) => (Some(snapshot), false),
        Origin::Moved(snapshot) => (Some(snapshot), true),
    };
    if let Some(snapshot) = snapshot {
        restore_from(instance, snapshot, arrivals).map_err(AddError::Snapshot)?;
    }
    let is_void = matches!(origin, Origin::Recovered(_));
    for output in &mut instance.outputs {
        if !exact && (!output.every || is_void) {
            output.next = output.next.max(base);
        }
        output.released = output.next;
        output.newest = output.queue.back().cloned();
    }
    for link in &mut instance.links {
        if let Some(output) = instance.outputs.get(usize::from(link.output)) {
            link.next = if link.every { output.oldest() } else { output.next };
        }
    }
    Ok(())
}

fn restore_from(
    instance: &mut Instance,
    snapshot: &Snapshot<'_>,
    arrivals: &mut u64,
) -> Result<(), DecodeError> {
    let header = snapshot.header();
    for cursor in header.outputs {
        if let Some(output) = instance.outputs.get_mut(usize::from(cursor.output)) {
            output.next = output.next.max(cursor.next);
        }
    }
    for cursor in header.inputs {
        if let Some(input) = instance.input_mut(cursor.stream) {
            (input.epoch, input.seen) = (cursor.epoch, true);
            (input.next, input.committed) = (cursor.next, cursor.next);
        }
    }
    let sections = [SectionKind::Outbox, SectionKind::Inbox];
    for kind in sections {
        let mut reader = Reader::new(snapshot.section(kind).unwrap_or_default());
        while reader.status().is_ok() && !reader.is_at_end() {
            let batch = Batch::read(&mut reader);
            reader.status()?;
            match kind {
                SectionKind::Outbox => restore_outbox(instance, &batch),
                _ => restore_inbox(instance, &batch, arrivals),
            }
        }
        reader.status()?;
    }
    Ok(())
}

/// Messages that no `every` wire needs are not kept.
fn restore_outbox(instance: &mut Instance, batch: &Batch<'_>) {
    let Instance { outputs, shapes, outbox, .. } = instance;
    let Some(output) = outputs.get_mut(usize::from(batch.stream.output)) else { return };
    let fits = shapes.get(output.shape);
    if !output.every {
        return;
    }
    for message in batch.numbered() {
        let is_next = output.queue.back().is_none_or(|last| last.seq < message.seq);
        if !is_next || !fits.is_some_and(|shape| shape.fits(message.payload)) {
            continue;
        }
        let stored = Stored::new(message.seq, message.sampled, message.payload);
        outbox.messages += 1;
        outbox.bytes = outbox.bytes.saturating_add(stored.cost());
        output.queue.push_back(stored);
        output.next = output.next.max(message.seq.next());
    }
}

/// Messages that no wire brings any more are not kept.
fn restore_inbox(instance: &mut Instance, batch: &Batch<'_>, arrivals: &mut u64) {
    let ports = ports_of(&instance.inputs, batch.stream);
    if ports == 0 || instance.admit(batch.stream, batch.epoch, batch.schema).is_err() {
        return;
    }
    let input = instance.inputs.iter().find(|input| input.stream == batch.stream);
    let Some(every) = input.map(|input| input.every) else { return };
    for message in batch.numbered() {
        *arrivals += 1;
        instance.inbox.push(Entry {
            stream: batch.stream,
            seq: message.seq,
            sampled: message.sampled,
            ports,
            every,
            failed: false,
            arrived: *arrivals,
            payload: message.payload.as_bytes().into(),
        });
    }
}
