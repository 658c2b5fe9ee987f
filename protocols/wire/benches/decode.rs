//! What reading and checking costs: `cargo bench -p capmesh-wire --features es256`.
//!
//! Prints nanoseconds for each operation: the best of several rounds, which is steady enough to see
//! when a change made something twice as slow.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may panic")]

use capmesh_wire::cbor::{Writer, decode, encode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::cose::SigningKey;
use capmesh_wire::message::{Batch, BatchWriter, Stream};
use capmesh_wire::roster::{EntriesWriter, Entry, UnverifiedRoster};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{
    Credential, Digest, Epoch, InstanceId, List, Name, NodeId, Payload, PublicKey, Revision, Role,
    Roster, Schema, Seq, Unit,
};
use std::hint::black_box;
use std::time::Instant;

fn measure(name: &str, mut operation: impl FnMut()) {
    const ROUNDS: u32 = 20;
    let mut per_round = 1_u32;
    // As many as take about two milliseconds.
    loop {
        let start = Instant::now();
        (0..per_round).for_each(|_| operation());
        if start.elapsed().as_micros() > 2_000 {
            break;
        }
        per_round *= 2;
    }
    let best = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..per_round).for_each(|_| operation());
        start.elapsed() / per_round
    });
    println!("{name:<44} {:>9} ns", best.min().unwrap_or_default().as_nanos());
}

fn roster(site: &SigningKey, nodes: u16) -> Vec<u8> {
    let mut credentials: Vec<(NodeId, Vec<u8>)> = (0..nodes)
        .map(|n| {
            let key = PublicKey { x: *Digest::of(&n.to_be_bytes()).as_bytes(), y: [7; 32] };
            let mut buf = [0; 128];
            let name = format!("n{n:04}");
            let len = Credential::encode(Name::new(&name).unwrap(), &key, &mut buf).unwrap();
            (key.id(), buf[..len].to_vec())
        })
        .collect();
    credentials.sort();
    let mut buf = vec![0; 64 * 1024];
    let mut entries = EntriesWriter::new(&mut buf);
    for (_, bytes) in &credentials {
        let credential = Credential::parse(bytes).unwrap();
        entries.push(&Entry { role: Role::Node, expires: 1_900_000_000, credential }).unwrap();
    }
    let head = entries.head(Name::new("s1").unwrap(), Revision(1), 1_790_000_000);
    let mut out = vec![0; 64 * 1024];
    let len = entries.sign(&head, site, &mut out).unwrap();
    out.truncate(len);
    out
}

fn main() {
    let name = |text| Name::new(text).unwrap();
    let field = |text, unit| Field { name: name(text), ty: FieldType::F32, unit, optional: false };
    let fields = [field("temperature", Unit::Celsius), field("humidity", Unit::RelativeHumidity)];
    let schema = Schema::new(name("climate"), 1, List::new(&fields).unwrap()).unwrap();
    let payload = Payload::new(&[0x82, 0xf9, 0x4d, 0x60, 0xf9, 0x51, 0x10]).unwrap();
    let head = Batch {
        stream: Stream { instance: InstanceId(7), output: 0 },
        epoch: Epoch(2),
        first: Seq(1_000),
        schema: schema.id().tag(),
        start: Timestamp { micros: 1_790_000_000_000_000, uncertainty: Some(500) },
        messages: List::EMPTY,
    };
    let write = |count: usize, buf: &mut [u8]| {
        let mut writer = Writer::new(buf);
        let mut batch = BatchWriter::new(&head, &mut writer).unwrap();
        for _ in 0..count {
            batch.push(1_000, payload).unwrap();
        }
        writer.len()
    };
    for count in [1, 23] {
        let mut buf = [0; 512];
        measure(&format!("batch of {count}: write"), || {
            black_box(write(count, black_box(&mut buf)));
        });
        let len = write(count, &mut buf);
        measure(&format!("batch of {count} ({len} B): read, check schema"), || {
            let batch: Batch<'_> = decode(black_box(&buf[..len])).unwrap();
            for message in batch.numbered() {
                message.payload.check(&schema).unwrap();
            }
        });
    }
    let mut buf = [0; 128];
    measure("schema of 2 fields: write", || {
        black_box(encode(black_box(&schema), &mut buf).unwrap());
    });
    measure("schema of 2 fields: id", || {
        black_box(black_box(&schema).id());
    });
    let site = SigningKey::from_bytes(&[42; 32]).unwrap();
    let bytes = roster(&site, 200);
    let roster = Roster::from_trusted(&bytes).unwrap();
    let last = roster.entries().last().unwrap().id();
    measure(&format!("roster of 200 ({} B): find the last", bytes.len()), || {
        black_box(roster.find(black_box(last)).unwrap());
    });
    measure("roster of 200: verify", || {
        UnverifiedRoster::parse(black_box(&bytes)).unwrap().verify(&site.public_key()).unwrap();
    });
}
