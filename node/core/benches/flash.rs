//! What the store costs: time on this machine, and wear of flash at several fillings.
//!
//! `cargo bench -p capmesh-node --bench flash`. The wear is counted and repeats exactly.
#![expect(clippy::unwrap_used, reason = "nothing here can fail")]

use capmesh_node::flash::nor::Nor;
use capmesh_node::flash::{Config, Geometry, Store};
use std::time::{Duration, Instant};

const KIND: u8 = 1;

/// 64 KB of log, as on a board.
const BOARD: Config = Config {
    geometry: Geometry { sector: 4_096, unit: 4, page: 256, rewrites: true },
    log_sectors: 16,
    extent_sectors: 0,
    max_group: 3_072,
    max_records: 2_000,
    max_extents: 0,
    queue: 6_144,
    write: 256,
};

struct Flash {
    nor: Nor,
    store: Store,
    operations: u32,
    /// Time in the store alone.
    busy: Duration,
}

impl Flash {
    fn new(config: Config) -> Self {
        let nor = Nor::new(config.geometry, config.bytes());
        let store = Store::mount(nor.bytes(), config);
        let mut flash = Self { nor, store, operations: 0, busy: Duration::ZERO };
        flash.settle();
        flash
    }

    fn put(&mut self, id: u32, value: &[u8]) {
        let start = Instant::now();
        self.store.put(KIND, id, value).unwrap();
        self.busy += start.elapsed();
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let start = Instant::now();
            let Some(op) = self.store.poll(self.nor.bytes()) else { return };
            self.busy += start.elapsed();
            let result = self.nor.apply(op);
            let start = Instant::now();
            self.store.flashed(self.nor.bytes(), result);
            self.busy += start.elapsed();
            self.operations += 1;
        }
    }
}

/// Replaces values of `len` bytes, each of `count` keys in turn but mostly one of a few.
fn wear(len: usize, count: u32) {
    const WRITES: u32 = 20_000;
    let mut flash = Flash::new(BOARD);
    let mut value = vec![7; len];
    (0..count).for_each(|id| flash.put(id, &value));
    let (before, mut seed) = (flash.store.stats(), 1_u32);
    (flash.operations, flash.busy) = (0, Duration::ZERO);
    for n in 0..WRITES {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let range = if seed >> 30 == 0 { count } else { count.div_ceil(4) };
        value.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
        flash.put((seed >> 8) % range, &value);
    }
    let stats = flash.store.stats();
    let usage = flash.store.usage(flash.nor.bytes());
    let written = f64::from(WRITES) * f64::from(u32::try_from(len).unwrap());
    let programmed = f64::from(stats.programmed_bytes.wrapping_sub(before.programmed_bytes));
    println!(
        "{len:>5} {count:>5} {:>4.0} % {:>7.2} {:>9.1} {:>5} {:>8.1} us",
        100.0 * f64::from(usage.log_used) / f64::from(usage.log_capacity),
        programmed / written,
        f64::from(stats.erases - before.erases) * 1_000.0 / f64::from(WRITES),
        stats.most_erased - stats.least_erased,
        flash.busy.as_secs_f64() * 1e6 / f64::from(WRITES),
    );
}

fn mount() {
    let mut flash = Flash::new(BOARD);
    for n in 0..2_000 {
        flash.put(n % 300, &[3; 60]);
    }
    let start = Instant::now();
    for _ in 0..100 {
        std::hint::black_box(Store::mount(flash.nor.bytes(), BOARD));
    }
    println!("mount of 64 KB with 300 records: {:?}", start.elapsed() / 100);
    let start = Instant::now();
    for n in 0..1_000_000 {
        std::hint::black_box(flash.store.get(flash.nor.bytes(), KIND, n % 300));
    }
    println!("get: {:?}", start.elapsed() / 1_000_000);
}

fn main() {
    println!("bytes  keys  full programmed erases per  wear  time in");
    println!("                   per byte   1000 puts  apart  the store");
    for (len, count) in
        [(16, 100), (16, 600), (64, 100), (64, 300), (400, 16), (400, 60), (2_900, 4), (2_900, 9)]
    {
        wear(len, count);
    }
    mount();
}
