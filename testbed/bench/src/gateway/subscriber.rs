//! An MQTT client that counts: MQTT 3.1.1, QoS 0, as little work for each message as there can be, so that
//! it takes little from what is measured. It looks at every message: its number, and how old it is.

use crate::site::Failed;
use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
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
    let mut stream = TcpStream::connect(("127.0.0.1", broker))?;
    stream.set_nodelay(true)?;
    // CONNECT, clean, keep alive 0, client "counter".
    stream.write_all(b"\x10\x13\0\x04MQTT\x04\x02\0\0\0\x07counter")?;
    let mut reader = BufReader::with_capacity(1 << 18, stream.try_clone()?);
    expect(&mut reader, 0x20)?;
    let filter = b"capmesh/bench/node/+/bench--source/+";
    let len = u8::try_from(filter.len())?;
    let head = [0x82, len + 5, 0, 1, 0, len];
    stream.write_all(&[&head[..], filter, &[0]].concat())?;
    expect(&mut reader, 0x90)?;
    let received = Arc::new(Received::default());
    let counter = Arc::clone(&received);
    std::thread::Builder::new().name("subscriber".to_owned()).spawn(move || {
        // The end of the broker is the end of this.
        let _keep = stream;
        let _ = count(&mut reader, &counter, start);
    })?;
    Ok(received)
}

fn expect(reader: &mut impl Read, kind: u8) -> Result<(), Failed> {
    let (found, body) = packet(reader)?;
    // The return code of both is the last byte.
    match (found == kind, body.last()) {
        (true, Some(code)) if *code < 0x80 && (kind != 0x20 || *code == 0) => Ok(()),
        _ => Err("the broker refuses".into()),
    }
}

fn packet(reader: &mut impl Read) -> Result<(u8, Vec<u8>), Failed> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    let [kind] = byte;
    let mut len = 0_usize;
    for shift in [0, 7, 14, 21] {
        reader.read_exact(&mut byte)?;
        let [part] = byte;
        len |= usize::from(part & 0x7f) << shift;
        if part & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    Ok((kind, body))
}

fn count(reader: &mut impl Read, received: &Received, start: Instant) -> Result<(), Failed> {
    let mut next: HashMap<Vec<u8>, u64> = HashMap::new();
    loop {
        let (kind, body) = packet(reader)?;
        if kind & 0xf0 != 0x30 {
            continue;
        }
        let (head, rest) = body.split_first_chunk::<2>().ok_or("no topic")?;
        let len = usize::from(u16::from_be_bytes(*head));
        let (topic, payload) = rest.split_at_checked(len).ok_or("no payload")?;
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

/// The number behind a key.
fn number(json: &[u8], key: &[u8]) -> Result<u64, Failed> {
    let at = json.windows(key.len()).position(|window| window == key).ok_or("no such key")?;
    let digits = json.get(at + key.len()..).unwrap_or_default();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}
