//! A request of 64 bytes, protected and unprotected by us and by liboscore in one run:
//! `cargo bench -p capmesh-interop --features liboscore`.
//!
//! Both start from a message in memory and end with its payload in memory.
#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Context, Parameters};
use coap_message::{MinimalWritableMessage, ReadableMessage};
use coap_message_implementations::inmemory_write;
use criterion::{Criterion, criterion_group, criterion_main};
use liboscore::{AeadAlg, HkdfAlg, OscoreOption, PrimitiveContext, PrimitiveImmutables};
use std::hint::black_box;

const SECRET: [u8; 16] = [7; 16];
const PAYLOAD: [u8; 64] = [0x5a; 64];
const PATH: [&[u8]; 3] = [b"t", b"city", b"air"];

fn ours(sender_id: &[u8], recipient_id: &[u8]) -> Context {
    let (master_secret, master_salt) = (&SECRET, &[][..]);
    let parameters =
        Parameters { master_secret, master_salt, id_context: None, sender_id, recipient_id };
    Context::derive(&parameters).unwrap()
}

fn theirs(sender_id: &[u8], recipient_id: &[u8]) -> PrimitiveContext {
    let hkdf = HkdfAlg::from_number(5).unwrap();
    let aead = AeadAlg::from_number(10).unwrap();
    let keys = PrimitiveImmutables::derive(hkdf, &SECRET, &[], None, aead, sender_id, recipient_id);
    PrimitiveContext::new_from_fresh_material(keys.unwrap())
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("protect and unprotect 64");
    let mut buf = [0; 256];
    let token = Token::EMPTY;
    let mut writer = MessageWriter::new(&mut buf, Kind::Confirmable, Code::POST, 1, token).unwrap();
    for segment in PATH {
        writer.option(OptionNumber::URI_PATH, segment).unwrap();
    }
    writer.payload(&PAYLOAD).unwrap();
    let inner = writer.as_message();
    let (mut client, mut server) = (ours(b"c", b"s"), ours(b"s", b"c"));
    let (mut out, mut scratch) = ([0; 256], [0; 256]);
    group.bench_function("ours", |b| {
        b.iter(|| {
            let (len, _) = client.protect_request(black_box(inner), &mut out).unwrap();
            let outer = Message::parse(out.get(..len).unwrap()).unwrap();
            let (opened, _) = server.unprotect_request(outer, &mut scratch).unwrap();
            opened.payload().len()
        });
    });

    let (mut client, mut server) = (theirs(b"c", b"s"), theirs(b"s", b"c"));
    let (mut code, mut tail) = (0, [0; 256]);
    group.bench_function("liboscore", |b| {
        b.iter(|| {
            let mut outer = inmemory_write::Message::new(&mut code, &mut tail);
            liboscore::protect_request(&mut outer, &mut client, |message| {
                message.set_code(Code::POST.0);
                for segment in PATH {
                    message.add_option(OptionNumber::URI_PATH.0, segment).unwrap();
                }
                message.set_payload(black_box(&PAYLOAD)).unwrap();
            })
            .unwrap();
            let len = outer.finish();
            let outer = tail.get_mut(..len).unwrap();
            // The OSCORE option is the only outer one, and shorter than 13 bytes.
            let option_len = usize::from(outer.first().unwrap() & 0x0f);
            let option = outer.get(1..=option_len).unwrap().to_vec();
            let header = OscoreOption::parse(&option).unwrap();
            let mut outer = inmemory_write::Message::new_from_existing(&mut code, outer);
            let read = |message: &liboscore::ProtectedMessage| message.payload().len();
            liboscore::unprotect_request(&mut outer, header, &mut server, read).unwrap().1
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
