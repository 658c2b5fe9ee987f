//! As much of an MQTT client as it takes to listen: MQTT 3.1.1, QoS 0.

use crate::site::Failed;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

/// What a broker sends.
pub(crate) type Reader = BufReader<TcpStream>;

/// Connects to a broker on this machine, and subscribes to a filter.
pub(crate) fn subscribe(broker: u16, filter: &str) -> Result<Reader, Failed> {
    let mut stream = TcpStream::connect(("127.0.0.1", broker))?;
    stream.set_nodelay(true)?;
    // CONNECT, clean, keep alive 0, client "counter".
    stream.write_all(b"\x10\x13\0\x04MQTT\x04\x02\0\0\0\x07counter")?;
    let mut reader = BufReader::with_capacity(1 << 18, stream.try_clone()?);
    expect(&mut reader, 0x20)?;
    let filter = filter.as_bytes();
    let len = u8::try_from(filter.len())?;
    let head = [0x82, len + 5, 0, 1, 0, len];
    stream.write_all(&[&head[..], filter, &[0]].concat())?;
    expect(&mut reader, 0x90)?;
    Ok(reader)
}

fn expect(reader: &mut impl Read, kind: u8) -> Result<(), Failed> {
    let (found, body) = packet(reader)?;
    // The return code of both is the last byte.
    match (found == kind, body.last()) {
        (true, Some(code)) if *code < 0x80 && (kind != 0x20 || *code == 0) => Ok(()),
        _ => Err("the broker refuses".into()),
    }
}

/// The next packet: its first byte and its body.
pub(crate) fn packet(reader: &mut impl Read) -> Result<(u8, Vec<u8>), Failed> {
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

/// Topic and payload of a PUBLISH with QoS 0.
pub(crate) fn published(body: &[u8]) -> Result<(&[u8], &[u8]), Failed> {
    let (head, rest) = body.split_first_chunk::<2>().ok_or("no topic")?;
    let len = usize::from(u16::from_be_bytes(*head));
    Ok(rest.split_at_checked(len).ok_or("no payload")?)
}

/// The number behind a key of a JSON object.
pub(crate) fn number(json: &[u8], key: &[u8]) -> Result<u64, Failed> {
    let at = json.windows(key.len()).position(|window| window == key).ok_or("no such key")?;
    let digits = json.get(at + key.len()..).unwrap_or_default();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}
