//! Messages between capsules.
//!
//! A *stream* is an output of an instance. Its messages are numbered without gaps, the numbers go on
//! after a migration, and each message carries the epoch of its producer: that is all a receiver
//! needs to drop what it has had and to refuse what a stale copy sends.
//!
//! Messages travel in [`Batch`]es, alone or several at once. The topic is not in them: the plan ties
//! streams to topics at both ends, and who observes a topic has named it in the request. The schema
//! is there as four bytes of its id, so that two ends that disagree notice.
//!
//! On an `every` wire a batch goes as a confirmable request and is answered by an [`Ack`], or by a
//! [`Problem`](crate::Problem) with a time to try again. On a `latest` wire it goes
//! non-confirmable and unanswered.

use crate::cbor::macros::tuple;
use crate::cbor::{Encode, List, Overflow, Writer};
use crate::clock::Timestamp;
use crate::id::{Epoch, InstanceId, Seq};
use crate::limits;
use crate::schema::{Payload, SchemaTag};
use core::fmt;

tuple! {
    /// An output of an instance.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct Stream {
        /// The instance.
        instance: InstanceId,
        /// The number of the output in the capsule's manifest.
        output: u8,
    }
}

tuple! {
    /// Messages of one stream with consecutive numbers.
    pub struct Batch<'a> {
        /// Whose they are.
        stream: Stream,
        /// The epoch of the producer.
        epoch: Epoch,
        /// The number of the first message.
        first: Seq,
        /// What they are.
        schema: SchemaTag,
        /// When the first was sampled. Its uncertainty is that of them all.
        start: Timestamp,
        /// The messages.
        messages: List<'a, Message<'a>, { limits::BATCH }>,
    }
}

tuple! {
    /// A message of a batch.
    pub struct Message<'a> {
        /// How many microseconds after the one before it was sampled; for the first, after
        /// [`Batch::start`], so usually 0.
        after: u32,
        /// Its value.
        payload: Payload<'a>,
    }
}

/// A message with all that its batch says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    /// Its number in its stream.
    pub seq: Seq,
    /// When it was sampled.
    pub sampled: Timestamp,
    /// Its value.
    pub payload: Payload<'a>,
}

impl<'a> Batch<'a> {
    /// The messages, each with its number and time.
    pub fn numbered(&self) -> impl Iterator<Item = Numbered<'a>> + use<'a> {
        let (mut seq, mut sampled) = (self.first, self.start);
        self.messages.iter().map(move |message| {
            sampled.micros = sampled.micros.saturating_add(u64::from(message.after));
            let numbered = Numbered { seq, sampled, payload: message.payload };
            seq = seq.next();
            numbered
        })
    }
}

tuple! {
    /// What a receiver has accepted of a stream. It is cumulative: a later one says all that earlier
    /// ones said.
    pub struct Ack {
        /// The stream.
        stream: Stream,
        /// The epoch that the receiver knows.
        epoch: Epoch,
        /// The number of the first message that the receiver does not have.
        next: Seq,
        /// How many more messages it has room for.
        room: u16,
    }
}

/// Writes a [`Batch`] message by message, for an outbox that fills a datagram.
pub struct BatchWriter<'w, 'b> {
    writer: &'w mut Writer<'b>,
    /// Where the one byte that counts the messages stands.
    count_at: usize,
    count: u8,
}

impl<'w, 'b> BatchWriter<'w, 'b> {
    /// Starts a batch with everything that `head` says but its messages.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn new(head: &Batch<'_>, writer: &'w mut Writer<'b>) -> Result<Self, Overflow> {
        Batch { messages: List::EMPTY, ..*head }.write(writer);
        writer.status()?;
        let count_at = writer.len().saturating_sub(1);
        Ok(Self { writer, count_at, count: 0 })
    }

    /// Appends a message; `after` is the time since the one before, in microseconds.
    ///
    /// # Errors
    /// If it does not fit, or if there are [`limits::BATCH`] already. The batch is as before.
    pub fn push(&mut self, after: u32, payload: Payload<'_>) -> Result<(), Overflow> {
        if usize::from(self.count) >= limits::BATCH {
            return Err(Overflow);
        }
        let len = self.writer.len();
        Message { after, payload }.write(self.writer);
        if let Err(overflow) = self.writer.status() {
            self.writer.truncate(len);
            return Err(overflow);
        }
        self.count += 1;
        // An array of up to 23.
        self.writer.patch(self.count_at, 0x80 | self.count);
        Ok(())
    }

    /// How many messages there are.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }
}

impl fmt::Debug for BatchWriter<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchWriter({} messages)", self.count)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::cbor::{decode, encode};
    use hex_literal::hex;
    use std::vec::Vec;

    fn head() -> Batch<'static> {
        Batch {
            stream: Stream { instance: InstanceId(7), output: 1 },
            epoch: Epoch(2),
            first: Seq(1000),
            schema: SchemaTag([1, 2, 3, 4]),
            start: Timestamp { micros: 1_700_000_000_000_000, uncertainty: Some(500) },
            messages: List::EMPTY,
        }
    }

    fn payload() -> Payload<'static> {
        Payload::new(&[0x81, 0xf9, 0x4d, 0x60]).unwrap()
    }

    #[test]
    fn written_one_by_one_or_at_once() {
        let messages =
            [Message { after: 0, payload: payload() }, Message { after: 250, payload: payload() }];
        let whole = Batch { messages: List::new(&messages).unwrap(), ..head() };
        let mut one = [0; 64];
        let len = encode(&whole, &mut one).unwrap();
        let mut two = [0; 64];
        let mut writer = Writer::new(&mut two);
        let mut batch = BatchWriter::new(&head(), &mut writer).unwrap();
        batch.push(0, payload()).unwrap();
        batch.push(250, payload()).unwrap();
        assert_eq!(writer.written(), &one[..len]);
        let read: Batch<'_> = decode(&one[..len]).unwrap();
        assert_eq!(read, whole);
        let numbered: Vec<_> = read.numbered().collect();
        assert_eq!(
            (numbered[1].seq, numbered[1].sampled.micros),
            (Seq(1001), 1_700_000_000_000_250)
        );
    }

    #[test]
    fn a_batch_of_one_reading_takes_few_bytes() {
        let mut buf = [0; 64];
        let mut writer = Writer::new(&mut buf);
        BatchWriter::new(&head(), &mut writer).unwrap().push(0, payload()).unwrap();
        assert_eq!(
            writer.written(),
            hex!(
                "86 82 07 01 02 19 03e8 44 01020304 82 1b 00060a24181e4000 19 01f4 81 82 00 81 f9 4d60"
            )
        );
    }

    #[test]
    fn a_full_batch_takes_no_more_and_stays_whole() {
        let mut buf = [0; 400];
        let mut writer = Writer::new(&mut buf);
        let mut batch = BatchWriter::new(&head(), &mut writer).unwrap();
        for _ in 0..limits::BATCH {
            batch.push(1, payload()).unwrap();
        }
        assert_eq!(batch.push(1, payload()), Err(Overflow));
        let read: Batch<'_> = decode(writer.written()).unwrap();
        assert_eq!(read.messages.len(), limits::BATCH);

        let mut small = [0; 40];
        let mut writer = Writer::new(&mut small);
        let mut batch = BatchWriter::new(&head(), &mut writer).unwrap();
        while batch.push(1, payload()).is_ok() {}
        let count = batch.count();
        let read: Batch<'_> = decode(writer.written()).unwrap();
        assert_eq!((read.messages.len(), usize::from(count)), (2, 2));
    }
}
