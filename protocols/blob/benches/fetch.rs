//! How fast a transfer goes when neither link nor storage holds it up: verifying, choosing, and
//! reading back for the digest of the whole.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a benchmark may fail")]

use capmesh_blob::fetch::{Config, Holdings, Input, Output};
use capmesh_blob::{Fetch, Geometry, Pages};
use capmesh_wire::{BlobRef, Digest, Instant};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const SIZE: usize = 1 << 20;

struct Stored {
    blob: BlobRef,
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(size: usize) -> Self {
        let mut bytes: Vec<u8> = (0_u8..251).cycle().take(size).collect();
        let size = u32::try_from(size).unwrap();
        let geometry = Geometry::new(size, 10).unwrap();
        let mut pages = Pages::new(size, 10).unwrap();
        let entries: Vec<_> =
            bytes.chunks(1024).flat_map(|chunk| pages.push(chunk).unwrap()).collect();
        bytes.resize(geometry.stored_size() as usize, 0);
        for entry in entries {
            bytes[entry.offset as usize..][..32].copy_from_slice(entry.digest.as_bytes());
        }
        Self { blob: pages.finish().unwrap(), geometry, bytes }
    }

    fn at(&self, offset: u32, len: u16) -> &[u8] {
        &self.bytes[offset as usize..][..usize::from(len)]
    }
}

fn transfer(stored: &Stored) -> bool {
    let now = Instant::ZERO;
    let mut fetch = Fetch::<u8>::new(now, Config::default(), &stored.blob, 1).unwrap();
    fetch.handle(now, Input::PeerUp { peer: 1, rank: 0, holdings: Holdings::Whole });
    loop {
        match fetch.poll(now) {
            Some(Output::Request { peer, piece, offset }) => {
                let bytes = stored.at(stored.geometry.offset(piece), stored.geometry.len(piece));
                fetch.handle(now, Input::Part { peer, piece, offset, bytes, last: true });
            }
            Some(Output::Write { piece, .. }) => fetch.handle(now, Input::Written { piece }),
            Some(Output::Read { offset, len }) => {
                fetch.handle(now, Input::Read { offset, bytes: stored.at(offset, len) });
            }
            Some(Output::Done) => return true,
            _ => return false,
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let stored = Stored::new(SIZE);
    let mut group = criterion.benchmark_group("blob");
    group.throughput(Throughput::Bytes(1024));
    group.bench_function("verify_chunk", |b| {
        let chunk = stored.at(0, 1024);
        b.iter(|| Digest::of(black_box(chunk)) == stored.blob.digest);
    });
    group.throughput(Throughput::Bytes(SIZE as u64));
    group.sample_size(10);
    group.bench_function("transfer_1MiB", |b| {
        b.iter(|| assert!(transfer(black_box(&stored))));
    });
    group.bench_function("make_pages_1MiB", |b| b.iter(|| Stored::new(black_box(SIZE))));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
