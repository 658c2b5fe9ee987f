//! What one request and its response cost an endpoint, without any link: the server's half alone, and
//! both halves, on an endpoint that is as large as a gateway's.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a benchmark may panic")]

use capmesh_coap::endpoint::{Config, Endpoint, Event, Output, Reliability, Via};
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Kind, MessageWriter, Token};
use capmesh_wire::Instant;
use criterion::{Criterion, criterion_group, criterion_main};
use std::net::SocketAddr;
use std::time::Duration;

type Gateway = Endpoint<Plain, 1280, 256, 328_704, 256, 256, 4096, 262_144>;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn endpoint(seed: u8) -> Box<Gateway> {
    Box::new(Gateway::new(Config { nstart: 8, ..Config::default() }, Plain, [seed; 16]))
}

/// Gives a datagram to a server, which answers at once, and returns the reply's length.
fn serve(server: &mut Gateway, now: Instant, datagram: &[u8], out: &mut [u8]) -> usize {
    let mut scratch = [0; 1280];
    if let Some(Event::Request { responder, message, .. }) =
        server.handle(now, address(1), Via::Unicast, datagram, &mut scratch)
    {
        let answered = server.respond(now, responder, Code::CONTENT, |writer| {
            writer.payload(message.payload()).map(drop)
        });
        answered.expect("a responder is good once");
    }
    match server.poll(now, out) {
        Some(Output::Transmit { len, .. }) => len,
        other => panic!("{other:?}"),
    }
}

fn endpoints(c: &mut Criterion) {
    let mut group = c.benchmark_group("endpoint");
    group.bench_function("server: request, response", |b| {
        let mut server = endpoint(1);
        let (mut count, mut now) = (0_u32, Instant::ZERO);
        let (mut request, mut out) = ([0; 128], [0; 1280]);
        b.iter(|| {
            count = count.wrapping_add(1);
            now += Duration::from_micros(10);
            let [_, _, high, low] = count.to_be_bytes();
            let token = Token::new(&count.to_be_bytes()).unwrap_or_default();
            let id = u16::from_be_bytes([high, low]);
            let mut writer =
                MessageWriter::new(&mut request, Kind::Confirmable, Code::GET, id, token)
                    .expect("it fits");
            writer.path("sensors/temperature").expect("it fits");
            writer.payload(&[7; 64]).expect("it fits");
            let len = writer.finish();
            serve(&mut server, now, &request[..len], &mut out)
        });
    });
    group.bench_function("client and server, 8 at once", |b| {
        let (mut client, mut server) = (endpoint(1), endpoint(2));
        let mut now = Instant::ZERO;
        let (mut out, mut reply, mut scratch) = ([0; 1280], [0; 1280], [0; 1280]);
        b.iter(|| {
            now += Duration::from_micros(80);
            for _ in 0..8 {
                let to = address(2);
                let asked =
                    client.request(now, to, Reliability::Confirmable, Code::GET, |writer| {
                        writer.path("sensors/temperature")?;
                        writer.payload(&[7; 64]).map(drop)
                    });
                asked.expect("there is room");
            }
            let mut answered = 0;
            while let Some(Output::Transmit { len, .. }) = client.poll(now, &mut out) {
                let len = serve(&mut server, now, &out[..len], &mut reply);
                let event =
                    client.handle(now, address(2), Via::Unicast, &reply[..len], &mut scratch);
                answered += u32::from(matches!(event, Some(Event::Response { .. })));
            }
            assert_eq!(answered, 8);
        });
    });
    group.finish();
}

criterion_group!(benches, endpoints);
criterion_main!(benches);
