//! An MQTT client that counts, with as little work for each message as there can be, so that it takes little
//! from what is measured. It looks at every message: its number, and how old it is.

use crate::client::{Reader, number, packet, published, subscribe};
use crate::site::Failed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What was received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Of `every` and of `latest` wires.
    pub(crate) every: AtomicU64,
    pub(crate) latest: AtomicU64,
    /// Numbers of `every` streams that came twice or were passed over.
    pub(crate) repeated: AtomicU64,
    pub(crate) missing: AtomicU64,
    /// How old messages were, in microseconds, since this was last emptied.
    pub(crate) ages: Mutex<Vec<u32>>,
}

/// Subscribes, and counts in a thread of its own. `start` is the zero of the clock that messages are
/// dated with.
pub(crate) fn start(broker: u16, start: Instant) -> Result<Arc<Received>, Failed> {
    let mut reader = subscribe(broker, "capmesh/bench/node/+/bench--source/+")?;
    let received = Arc::new(Received::default());
    let counter = Arc::clone(&received);
    std::thread::Builder::new().name("subscriber".to_owned()).spawn(move || {
        // The end of the broker is the end of this.
        let _ = count(&mut reader, &counter, start);
    })?;
    Ok(received)
}

fn count(reader: &mut Reader, received: &Received, start: Instant) -> Result<(), Failed> {
    let mut next: HashMap<Vec<u8>, u64> = HashMap::new();
    loop {
        let (kind, body) = packet(reader)?;
        if kind & 0xf0 != 0x30 {
            continue;
        }
        let (topic, payload) = published(&body)?;
        let (sent, seq) = (number(payload, b"\"sent\":")?, number(payload, b"\"seq\":")?);
        let age = start.elapsed().as_micros().saturating_sub(u128::from(sent));
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        received.ages.lock().unwrap_or_else(PoisonError::into_inner).push(age);
        if topic.ends_with(b"latest") {
            received.latest.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        received.every.fetch_add(1, Ordering::Relaxed);
        let expected = match next.get_mut(topic) {
            Some(expected) => expected,
            None => next.entry(topic.to_vec()).or_default(),
        };
        if seq < *expected {
            received.repeated.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        received.missing.fetch_add(seq - *expected, Ordering::Relaxed);
        *expected = seq + 1;
    }
}
