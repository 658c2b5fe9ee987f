//! Messages on their way out, as batches.

use super::instance::Instance;
use super::link::Flight;
use super::output::Stored;
use super::send::SMALLEST;
use alloc::vec::Vec;
use capmesh_wire::cbor::Writer;
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Batch, BatchWriter, Stream};
use capmesh_wire::{Epoch, List, SchemaTag, Seq, limits};

impl Instance {
    /// Where the output of a link stands: what is below may be acknowledged.
    pub(super) fn released_of(&self, number: usize) -> Seq {
        let output = self.links.get(number).map(|link| usize::from(link.output));
        output.and_then(|output| self.outputs.get(output)).map_or(Seq(0), |output| output.released)
    }

    /// Writes the next batch of an `every` link, or the one that says that there is nothing before it.
    /// Gives its numbers.
    pub(super) fn write_batch(&self, number: usize, buf: &mut Vec<u8>) -> Option<(Seq, Seq)> {
        let link = self.links.get(number)?;
        let output = self.outputs.get(usize::from(link.output))?;
        if link.flights.iter().any(Flight::is_skip) {
            return None;
        }
        // Numbers that are void, because a node was lost that may have given them, leave a hole between
        // what was acknowledged and what is next.
        let following = output.queue.get(output.find(link.next)).map(|stored| stored.seq);
        let is_hole = following.is_some_and(|seq| link.next < seq && seq < output.released);
        if link.skip || is_hole && link.flights.is_empty() {
            let first = following.unwrap_or(link.next.max(output.oldest()));
            self.write(link.output, first, &[], usize::from(SMALLEST), buf)?;
            return Some((first, first));
        }
        if link.room == 0 && !link.flights.is_empty() {
            return None;
        }
        let (start, before) = link.gap(output.oldest());
        let from = output.find(start);
        let ready = |stored: &&Stored| stored.seq < output.released && stored.seq < before;
        let most = usize::from(link.room).clamp(1, limits::BATCH);
        let mut messages: [Option<&Stored>; limits::BATCH] = [None; limits::BATCH];
        let found = output.queue.iter().skip(from).take(most).take_while(ready);
        let mut count = 0;
        for (place, stored) in messages.iter_mut().zip(found) {
            *place = Some(stored);
            count += 1;
        }
        let messages = messages.get(..count)?;
        let first = messages.first().copied().flatten()?.seq;
        let end = self.write(link.output, first, messages, usize::from(link.batch_bytes), buf)?;
        Some((first, end))
    }

    /// The number of the newest message for a `latest` link, if that has not been sent.
    pub(super) fn newest_for(&self, number: usize) -> Option<Seq> {
        let link = self.links.get(number)?;
        let newest = self.outputs.get(usize::from(link.output))?.newest.as_ref()?;
        (newest.seq >= link.next).then_some(newest.seq)
    }

    /// Writes the newest message of an output as a batch of its own; one without messages if there is
    /// none. Gives the number that comes next.
    pub(super) fn write_newest(&self, output: u8, buf: &mut Vec<u8>) -> Option<Seq> {
        let port = self.outputs.get(usize::from(output))?;
        let first = port.newest.as_ref().map_or(port.released, |newest| newest.seq);
        self.write(output, first, &[port.newest.as_ref()], usize::from(SMALLEST), buf)
    }

    /// Writes as many of `messages` as have consecutive numbers, go together and fit. Gives the number
    /// after the last one.
    fn write(
        &self,
        output: u8,
        first: Seq,
        messages: &[Option<&Stored>],
        bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Seq> {
        let shape = self.outputs.get(usize::from(output))?.shape;
        let stream = Stream { instance: self.id, output };
        let schema = self.shapes.get(shape).map(|shape| shape.tag)?;
        buf.resize(bytes, 0);
        let mut writer = Writer::new(buf);
        let messages = messages.iter().copied().flatten();
        let end = write_messages(stream, self.epoch, schema, first, messages, &mut writer);
        let len = writer.len();
        buf.truncate(len);
        end
    }
}

/// Writes a batch of the first of `messages`: as many as have consecutive numbers, go together and
/// fit. Gives the number after the last one; `None` if not even the first fits.
pub(super) fn write_messages<'m>(
    stream: Stream,
    epoch: Epoch,
    schema: SchemaTag,
    first: Seq,
    messages: impl Iterator<Item = &'m Stored> + Clone,
    writer: &mut Writer<'_>,
) -> Option<Seq> {
    let nothing = Timestamp { micros: 0, uncertainty: None };
    let mut start = messages.clone().next().map_or(nothing, |stored| stored.sampled);
    // The uncertainty of the first is that of them all, so it has to be that of the worst.
    let together =
        |stored: &&Stored| stored.sampled.uncertainty.is_some() == start.uncertainty.is_some();
    let worst = messages.clone().take(limits::BATCH).take_while(together);
    start.uncertainty = worst.filter_map(|stored| stored.sampled.uncertainty).max();
    let head = Batch { stream, epoch, first, schema, start, messages: List::EMPTY };
    let mut batch = BatchWriter::new(&head, writer).ok()?;
    let (mut end, mut last) = (first, start.micros);
    for stored in messages {
        let after = stored.sampled.micros.checked_sub(last).and_then(|us| u32::try_from(us).ok());
        let goes = stored.seq == end
            && stored.sampled.uncertainty.is_some() == start.uncertainty.is_some();
        let (Some(after), true, Some(payload)) = (after, goes, stored.payload()) else { break };
        if batch.push(after, payload).is_err() {
            break;
        }
        (end, last) = (end.next(), stored.sampled.micros);
    }
    Some(end)
}
