//! Flash that does not do what it is told.

use super::world::{Blob, Random, TINY, World};
use crate::flash::nor::Tear;
use crate::flash::{Done, Error, Fault, Op};
use std::vec::Vec;

impl World {
    /// One operation that is torn and reported as failed, or reported as done.
    fn step_badly(&mut self, tear: Tear, result: Result<(), Fault>) -> Option<Option<Done>> {
        let bytes: Vec<u8>;
        let op = match self.store.poll(self.nor.bytes())? {
            Op::Erase { at } => Op::Erase { at },
            Op::Program { at, bytes: page } => {
                bytes = page.to_vec();
                Op::Program { at, bytes: &bytes }
            }
        };
        self.nor.tear(op, tear);
        let done = self.store.flashed(self.nor.bytes(), result);
        self.note(done);
        Some(done)
    }

    /// Runs until it rests; every operation below `bad_from` is torn and reported as failed.
    fn settle_with_bad_sector(&mut self, sector: u32) {
        let size = self.store.config().geometry.sector;
        for n in 0.. {
            assert!(n < 2_000, "it does not come to rest");
            let mut is_bad = false;
            let poll = self.store.poll(self.nor.bytes());
            let Some(op) = poll else { return };
            let bytes: Vec<u8>;
            let op = match op {
                Op::Erase { at } => {
                    is_bad |= at / size == sector;
                    Op::Erase { at }
                }
                Op::Program { at, bytes: page } => {
                    bytes = page.to_vec();
                    Op::Program { at, bytes: &bytes }
                }
            };
            self.nor.tear(op, if is_bad { Tear::Nothing } else { Tear::Everything });
            let result = if is_bad { Err(Fault) } else { Ok(()) };
            let done = self.store.flashed(self.nor.bytes(), result);
            self.note(done);
        }
    }
}

#[test]
fn what_fails_now_and_then_is_done_elsewhere() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut world = World::new(TINY);
        for n in 0..300_u32 {
            let (kind, id) = (random.below(2) as u8, random.below(6) as u32);
            let len = random.below(20);
            world.put((kind, id), &random.bytes(len)).unwrap();
            for _ in 0..400 {
                let tear = match random.below(40) {
                    0 => Tear::Nothing,
                    1 => Tear::Front(random.below(30) as u32),
                    2 => Tear::Bits(u64::from(n)),
                    _ => Tear::Everything,
                };
                // The driver does not always notice.
                let result = if tear == Tear::Everything || random.below(2) == 0 {
                    Ok(())
                } else {
                    Err(Fault)
                };
                if world.step_badly(tear, result).is_none() {
                    break;
                }
            }
            world.check();
        }
        let stats = world.store.stats();
        assert!(stats.faults > 20 && !world.store.has_failed(), "{stats:?}");
        let again = World { model: world.model, ..World::on(world.nor, TINY) };
        again.check();
    }
}

#[test]
fn a_sector_that_is_worn_out_is_left_out() {
    let mut world = World::new(TINY);
    world.put((0, 0), b"before").unwrap();
    world.settle();
    for n in 0..400_u32 {
        world.put((1, n % 3), &n.to_le_bytes()).unwrap();
        world.settle_with_bad_sector(2);
        world.check();
    }
    assert_eq!(world.store.stats().bad, 1);
    let usage = world.store.usage(world.nor.bytes());
    assert!(usage.log_capacity < TINY.capacity());
    assert!(!world.store.has_failed());
}

#[test]
fn nothing_is_written_where_flash_is_not_erased() {
    let mut world = World::new(TINY);
    world.put((0, 0), b"before").unwrap();
    world.settle();
    // Where the next record would go a bit is lost; the simulated flash does not let it be set.
    let bytes = world.nor.bytes();
    let end = bytes.windows(6).position(|window| window == b"before").unwrap() as u32 + 6;
    world.nor.spoil(end + 11, 0x10);
    world.put((0, 1), b"after").unwrap();
    world.settle();
    world.check();
    assert_eq!(world.store.stats().faults, 1);
    let again = World { model: world.model, ..World::on(world.nor, TINY) };
    again.check();
}

#[test]
fn a_place_in_an_extent_that_is_written_already_stays_as_it_is() {
    let mut world = World::new(TINY);
    let id = world.allocate(Blob::new(&[0; 700])).unwrap();
    world.settle();
    world.write_piece(id, 0).unwrap();
    world.settle();
    let write =
        |world: &mut World, bytes: &[u8]| world.store.write(world.nor.bytes(), id, 0, bytes);
    assert_eq!(write(&mut world, &[1; 16]), Err(Error::Dirty));
    // Its last unit is not whole, and what is behind it there is not erased.
    assert_eq!(write(&mut world, &[0; 5]), Ok(()));
    let mut written = None;
    while let Some(op) = world.store.poll(world.nor.bytes()) {
        world.nor.apply(op).unwrap();
        written = world.store.flashed(world.nor.bytes(), Ok(()));
    }
    assert_eq!(written, Some(Done::Written(id)));
    assert_eq!(world.store.bytes(world.nor.bytes(), id).unwrap()[..16], [0; 16]);
}

#[test]
fn when_nothing_works_any_more_it_says_so_and_reads_on() {
    let mut world = World::new(TINY);
    world.put((0, 0), b"kept").unwrap();
    world.settle();
    let lost = world.put((0, 1), b"lost").unwrap();
    for n in 0.. {
        assert!(n < 500, "it does not give up");
        if world.step_badly(Tear::Nothing, Err(Fault)).is_none() {
            break;
        }
    }
    assert!(world.store.has_failed() && world.store.is_idle() && !world.store.is_durable(lost));
    assert_eq!(world.put((0, 2), b""), Err(Error::Failed));
    assert_eq!(world.store.get(world.nor.bytes(), 0, 0), Some(&b"kept"[..]));
    // Mounting tries again.
    let mut again = World { model: world.model, ..World::on(world.nor, TINY) };
    again.put((0, 2), b"works").unwrap();
    again.settle();
    again.check();
}

#[test]
fn an_extent_that_cannot_be_erased_or_written_says_so() {
    let mut world = World::new(TINY);
    world.settle();
    let blob = Blob::new(&[7; 700]);
    let id = world.allocate(blob.clone()).unwrap();
    let failed = (0..10).find_map(|_| world.step_badly(Tear::Nothing, Err(Fault)).flatten());
    assert_eq!(failed, Some(Done::AllocateFailed(id)));
    world.settle();
    world.check_sectors();
    assert_eq!(world.store.usage(world.nor.bytes()).records, 0);
    let id = world.allocate(blob).unwrap();
    world.settle();
    world.write_piece(id, 0).unwrap();
    let failed = (0..10).find_map(|_| world.step_badly(Tear::Front(5), Err(Fault)).flatten());
    assert_eq!(failed, Some(Done::WriteFailed(id)));
    // The same bytes may be written again.
    world.write_piece(id, 0).unwrap();
    world.settle();
    assert!(world.store.has(world.nor.bytes(), id, 0));
    world.check();
}
