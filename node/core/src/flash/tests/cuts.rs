//! Power cuts: at every operation of random workloads, torn at every byte.

use super::world::{Blob, Change, Key, ONCE, Random, TINY, World};
use crate::flash::nor::Tear;
use crate::flash::{Config, Error, ExtentId, ExtentState, Op};
use std::vec::Vec;

/// How an operation may be torn.
fn tears(op: Op<'_>, seed: u64) -> Vec<Tear> {
    let mut tears = std::vec![Tear::Nothing, Tear::Everything];
    tears.extend((0..3).map(|n| Tear::Bits(seed + n)));
    match op {
        Op::Program { bytes, .. } => {
            let len = bytes.len() as u32;
            tears.extend((1..len).map(Tear::Front));
            tears.extend((1..len).step_by(5).map(Tear::Back));
        }
        Op::Erase { .. } => {
            tears.extend([8, 20, 28, 100, 300, 511].map(Tear::Front));
            tears.extend([8, 20, 28, 100, 300, 511].map(Tear::Back));
        }
    }
    tears
}

/// Goes on after a cut: comes to rest, is cut once more on the way, and still takes a value.
fn go_on(mut world: World, random: &mut Random, deep: bool) {
    let mut count = 0;
    for _ in 0..2 {
        world.submit_something(random);
        while world
            .step_with(&mut |world, op| {
                count += 1;
                if deep {
                    let tear = tears(op, count);
                    drop(world.cut(op, tear[(count as usize * 7) % tear.len()]));
                }
            })
            .is_some()
        {}
        world.check();
    }
    assert!(!world.store.has_failed());
}

impl World {
    /// Something that a node might do next.
    fn submit_something(&mut self, random: &mut Random) {
        let result = match random.below(12) {
            0..4 => self.put_something(random),
            4 => self.delete((random.below(3) as u8, random.below(6) as u32)).map(drop),
            5 => {
                let changes = (0..1 + random.below(4)).map(|_| change(random)).collect();
                self.submit(changes).map(drop)
            }
            6 if random.below(3) == 0 => {
                let len = 1 + random.below(1_500);
                let blob = Blob::new(&random.bytes(len));
                if self.allocating.is_none() { self.allocate(blob).map(drop) } else { Ok(()) }
            }
            6..8 => self.put_something(random),
            8 | 9 => self.write_something(random),
            _ => self.end_something(random),
        };
        match result {
            Ok(()) => {}
            Err(Error::Busy | Error::Full | Error::Fragmented | Error::TooMany) => {}
            Err(Error::TooLarge) => {}
            // A write that was torn, where units are programmed once: it has to be fetched anew.
            Err(Error::Dirty) if !self.store.config().geometry.rewrites => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn put_something(&mut self, random: &mut Random) -> Result<(), Error> {
        match change(random) {
            Change::Put(key, value) => self.put(key, &value).map(drop),
            other => self.submit(std::vec![other]).map(drop),
        }
    }

    fn write_something(&mut self, random: &mut Random) -> Result<(), Error> {
        if self.writing.is_some() {
            return Ok(());
        }
        let busy = self.touched();
        let mut partial = self
            .model
            .extents
            .iter()
            .filter(|(id, model)| model.state == ExtentState::Partial && !busy.contains(id));
        let Some((id, model)) = partial.next_back() else { return Ok(()) };
        let (id, pieces) = (ExtentId(*id), model.blob.pieces.pieces());
        let missing = (0..pieces).find(|piece| !model.marked.contains(piece));
        let again = random.below(usize::from(pieces)) as u16;
        match missing {
            Some(piece) if random.below(8) > 0 => self.write_piece(id, piece),
            // What is there already can be written again.
            _ if self.model.extents[&id.0].marked.contains(&again) => self.write_piece(id, again),
            _ => Ok(()),
        }
    }

    fn end_something(&mut self, random: &mut Random) -> Result<(), Error> {
        let busy = self.touched();
        let ids: Vec<u32> =
            self.model.extents.keys().copied().filter(|id| !busy.contains(id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[random.below(ids.len())];
        let model = &self.model.extents[&id];
        let whole = model.marked.len() == usize::from(model.blob.pieces.pieces());
        let id = ExtentId(id);
        let end = match model.state {
            ExtentState::Partial if whole => Change::Commit(id),
            ExtentState::Partial if random.below(6) > 0 => return Ok(()),
            ExtentState::Whole if random.below(2) > 0 => Change::Retire(id),
            ExtentState::Whole | ExtentState::Partial | ExtentState::Gone => Change::Remove(id),
        };
        self.submit(std::vec![change(random), end]).map(drop)
    }

    /// The extents that what waits will change.
    fn touched(&self) -> Vec<u32> {
        let changes = self.waiting.iter().flat_map(|(_, changes)| changes);
        let ids = changes.filter_map(|change| match change {
            Change::Commit(id) | Change::Remove(id) => Some(std::vec![id.0]),
            // It may make room by forgetting another one.
            Change::Retire(id) => {
                let all = self.model.extents.iter();
                let gone = all.filter(|(_, e)| e.state == ExtentState::Gone).map(|(id, _)| *id);
                Some(gone.chain([id.0]).collect())
            }
            Change::Put(..) | Change::Delete(_) => None,
        });
        ids.flatten().chain(self.writing.map(|id| id.0)).collect()
    }
}

fn change(random: &mut Random) -> Change {
    let key: Key = (random.below(3) as u8, random.below(6) as u32);
    let len = match random.below(4) {
        0 => random.below(100),
        1 => 0,
        _ => random.below(24),
    };
    if random.below(5) == 0 { Change::Delete(key) } else { Change::Put(key, random.bytes(len)) }
}

/// Runs a workload, and before each of its operations every cut of it.
fn run(config: Config, seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut world = World::new(config);
    let (mut operations, mut cuts) = (0_u64, 0_u64);
    for step in 0..steps {
        world.submit_something(&mut random);
        for _ in 0..random.below(5) {
            let mut after = Random(seed + step as u64);
            let done = world.step_with(&mut |world, op| {
                operations += 1;
                for (n, tear) in tears(op, operations * 16).into_iter().enumerate() {
                    cuts += 1;
                    let cut = world.cut(op, tear);
                    // Most tears leave what another one has left; a few are followed to their end.
                    if n < 4 || n % 16 == 9 {
                        go_on(cut, &mut after, operations % 8 == 0 && n % 4 == 2);
                    }
                }
            });
            if done.is_none() {
                break;
            }
        }
        world.check();
    }
    world.settle();
    world.check();
    let stats = world.store.stats();
    std::println!("seed {seed}: {operations} operations, {cuts} cuts, {stats:?}");
    assert!(stats.compactions > 0 && stats.extent_erases > 0, "too little has happened");
}

#[test]
fn no_cut_loses_or_mixes_anything() {
    run(TINY, 1, 200);
}

#[test]
fn no_cut_harms_where_units_are_programmed_once() {
    run(ONCE, 2, 200);
}
