//! What a protected exchange costs beyond CoAP: `cargo bench -p capmesh-oscore`.
#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Context, Parameters};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const CLIENT: Parameters<'static> = Parameters {
    master_secret: &[7; 16],
    master_salt: &[8; 8],
    id_context: None,
    sender_id: &[1],
    recipient_id: &[2],
};
const SERVER: Parameters<'static> = Parameters { sender_id: &[2], recipient_id: &[1], ..CLIENT };

fn request(payload_len: usize) -> Vec<u8> {
    let mut buf = vec![0; 1280];
    let token = Token::new(&[1, 2]).unwrap();
    let mut writer = MessageWriter::new(&mut buf, Kind::Confirmable, Code::POST, 1, token).unwrap();
    writer.path("t/city/air").unwrap();
    writer.option_uint(OptionNumber::CONTENT_FORMAT, 60).unwrap();
    writer.payload(&vec![0x5a; payload_len]).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    for len in [0, 64, 1024] {
        let request = request(len);
        let inner = Message::parse(&request).unwrap();
        let (mut out, mut scratch) = ([0; 1280], [0; 1280]);
        group.throughput(Throughput::Elements(1));
        let mut client = Context::derive(&CLIENT).unwrap();
        group.bench_function(BenchmarkId::new("protect", len), |b| {
            b.iter(|| client.protect_request(black_box(inner), &mut out).unwrap());
        });
        let mut client = Context::derive(&CLIENT).unwrap();
        let mut server = Context::derive(&SERVER).unwrap();
        group.bench_function(BenchmarkId::new("protect and unprotect", len), |b| {
            b.iter(|| {
                let (len, _) = client.protect_request(black_box(inner), &mut out).unwrap();
                let outer = Message::parse(out.get(..len).unwrap()).unwrap();
                let (opened, _) = server.unprotect_request(outer, &mut scratch).unwrap();
                opened.payload().len()
            });
        });
    }
    group.finish();
    c.bench_function("derive a context", |b| {
        b.iter(|| Context::derive(black_box(&CLIENT)).unwrap());
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
