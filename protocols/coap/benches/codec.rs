//! Reading and writing one typical request: ours, `coap-message`'s implementation, `coap-lite`.
//!
//! GET /sensors/air/temperature?unit=C with Accept, a token of 5 bytes and 32 bytes of payload.

#![expect(clippy::indexing_slicing, reason = "a benchmark may panic")]

use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Kind, Message, MessageWriter, Token};
use coap_lite::{CoapOption, MessageClass, Packet, RequestType};
use coap_message::{MessageOption, MinimalWritableMessage, ReadableMessage};
use coap_message_implementations::{inmemory, inmemory_write};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const TOKEN: [u8; 5] = [1, 2, 3, 4, 5];
const PAYLOAD: [u8; 32] = [7; 32];
const OPTIONS: [(u16, &[u8]); 5] =
    [(11, b"sensors"), (11, b"air"), (11, b"temperature"), (15, b"unit=C"), (17, &[112])];

fn write_ours(buf: &mut [u8]) -> usize {
    let token = Token::new(&TOKEN).unwrap_or_default();
    let written = MessageWriter::new(buf, Kind::Confirmable, Code::GET, 0x1234, token).and_then(
        |mut writer| {
            for (number, value) in OPTIONS {
                writer.option(OptionNumber(number), value)?;
            }
            writer.payload(&PAYLOAD)?;
            Ok(writer.finish())
        },
    );
    written.unwrap_or_default()
}

fn write_inmemory(buf: &mut [u8]) -> usize {
    let (head, tail) = buf.split_at_mut(9);
    let (before, rest) = head.split_at_mut(1);
    before.copy_from_slice(&[0x45]);
    let Some((code, rest)) = rest.split_first_mut() else { return 0 };
    rest.copy_from_slice(&[0x12, 0x34, 1, 2, 3, 4, 5]);
    let mut message = inmemory_write::Message::new(code, tail);
    message.set_code(1);
    for (number, value) in OPTIONS {
        if message.add_option(number, value).is_err() {
            return 0;
        }
    }
    if message.set_payload(&PAYLOAD).is_err() {
        return 0;
    }
    9 + message.finish()
}

fn write_lite() -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::Request(RequestType::Get);
    packet.header.message_id = 0x1234;
    packet.set_token(TOKEN.to_vec());
    for (number, value) in OPTIONS {
        packet.add_option(CoapOption::from(number), value.to_vec());
    }
    packet.payload = PAYLOAD.to_vec();
    packet.to_bytes().unwrap_or_default()
}

fn codec(c: &mut Criterion) {
    let mut bytes = [0; 128];
    let len = write_ours(&mut bytes);
    let message = &bytes[..len];

    let mut read = c.benchmark_group("read");
    read.bench_function("capmesh", |b| {
        b.iter(|| {
            let message = Message::parse(black_box(message)).ok()?;
            let sum: usize = message.options().map(|(_, value)| value.len()).sum();
            Some(sum + message.payload().len())
        });
    });
    read.bench_function("coap-message", |b| {
        b.iter(|| {
            let message = black_box(message);
            let message = inmemory::Message::new(message[1], &message[9..]);
            let sum: usize = message.options().map(|option| option.value().len()).sum();
            sum + message.payload().len()
        });
    });
    read.bench_function("coap-lite", |b| {
        b.iter(|| {
            let packet = Packet::from_bytes(black_box(message)).ok()?;
            let values = packet.options().flat_map(|(_, values)| values);
            let sum: usize = values.map(Vec::len).sum();
            Some(sum + packet.payload.len())
        });
    });
    read.finish();

    let mut write = c.benchmark_group("write");
    write.bench_function("capmesh", |b| {
        let mut buf = [0; 128];
        b.iter(|| write_ours(black_box(&mut buf)));
    });
    write.bench_function("coap-message", |b| {
        let mut buf = [0; 128];
        b.iter(|| write_inmemory(black_box(&mut buf)));
    });
    write.bench_function("coap-lite", |b| b.iter(write_lite));
    write.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
