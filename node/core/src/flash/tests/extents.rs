//! The life of extents, and what peers are served from them.

use super::world::{Blob, Change, ONCE, OWNER, Random, TINY, World};
use crate::flash::{Config, Error, ExtentId, ExtentState};
use capmesh_blob::Store as _;
use capmesh_blob::serve::{Held, ReadError};
use capmesh_wire::Digest;
use std::vec::Vec;

fn blob(len: usize, seed: u64) -> Blob {
    Blob::new(&Random(seed).bytes(len))
}

impl World {
    fn install(&mut self, blob: &Blob) -> ExtentId {
        let id = self.allocate(blob.clone()).unwrap();
        self.settle();
        // Pages first, as they are fetched.
        for piece in (0..blob.pieces.pieces()).rev() {
            self.write_piece(id, piece).unwrap();
            self.settle();
        }
        self.submit(std::vec![Change::Commit(id)]).unwrap();
        self.settle();
        self.check();
        id
    }
}

#[test]
fn a_blob_is_one_slice_and_is_served_as_far_as_it_is_there() {
    for config in [TINY, ONCE] {
        let mut world = World::new(config);
        let blob = blob(1_000, 1);
        let digest = blob.name.digest;
        assert_eq!(world.store.served(world.nor.bytes()).held(&digest), Held::Nothing);
        let id = world.allocate(blob.clone()).unwrap();
        assert_eq!(world.store.write(world.nor.bytes(), id, 0, &[1]), Err(Error::NoExtent));
        world.settle();
        world.write_piece(id, 2).unwrap();
        world.settle();
        let served = world.store.served(world.nor.bytes());
        assert_eq!(served.held(&digest), Held::Part(blob.pieces));
        assert!(served.has(&digest, 2) && !served.has(&digest, 1) && !served.has(&digest, 999));
        let mut part = [0; 32];
        served.read(&digest, 512, &mut part).unwrap();
        assert_eq!(part, blob.stored[512..544]);
        assert_eq!(served.read(&digest, 1_150, &mut part), Err(ReadError::Failed));
        assert_eq!(world.store.pieces(world.nor.bytes(), id).collect::<Vec<_>>(), [2]);
        for piece in [4, 0, 1, 3] {
            world.write_piece(id, piece).unwrap();
            world.settle();
        }
        world.submit(std::vec![Change::Commit(id)]).unwrap();
        world.settle();
        let flash = world.nor.bytes();
        assert_eq!(world.store.bytes(flash, id), Some(&blob.stored[..1_000]));
        assert_eq!(world.store.served(flash).held(&digest), Held::Whole(blob.pieces));
        let (found, extent) = world.store.find(flash, &digest).unwrap();
        assert_eq!((found, extent.state, extent.owner), (id, ExtentState::Whole, OWNER));
        assert_eq!(world.store.write(flash, id, 0, &[1]), Err(Error::NoExtent));
        world.submit(std::vec![Change::Retire(id)]).unwrap();
        world.settle();
        let flash = world.nor.bytes();
        assert_eq!(world.store.served(flash).held(&digest), Held::Gone);
        assert_eq!(world.store.bytes(flash, id), None);
        world.check_sectors();
    }
}

#[test]
fn writes_are_held_to_their_place() {
    let mut world = World::new(TINY);
    let blob = blob(1_000, 2);
    let id = world.allocate(blob.clone()).unwrap();
    world.settle();
    let flash = world.nor.bytes().to_vec();
    let mut write = |offset, bytes: &[u8]| world.store.write(&flash, id, offset, bytes);
    assert_eq!(write(2, &[0; 4]), Err(Error::Place), "not aligned");
    assert_eq!(write(blob.pieces.stored_size(), &[0; 4]), Err(Error::Place), "behind the end");
    assert_eq!(write(u32::MAX - 3, &[0; 8]), Err(Error::Place));
    assert_eq!(write(0, &[0; 257]), Err(Error::TooLarge));
    assert_eq!(world.store.write_piece(&flash, id, 9, &[0; 256]), Err(Error::Place));
    assert_eq!(world.store.write_piece(&flash, id, 0, &[0; 255]), Err(Error::Place));
    world.write_piece(id, 0).unwrap();
    assert_eq!(world.store.write(&flash, id, 256, &[0; 4]), Err(Error::Busy));
    let mut group = world.store.group();
    assert_eq!(group.commit_extent(&flash, id), Err(Error::Busy));
    drop(group);
    world.settle();
    let flash = world.nor.bytes();
    assert_eq!(world.store.write(flash, id, 0, &[0xff; 4]), Err(Error::Dirty), "bits to be set");
    // The same again costs no program.
    let before = world.nor.programmed();
    world.write_piece(id, 0).unwrap();
    world.settle();
    assert_eq!(world.nor.programmed(), before);
    world.check();
}

#[test]
fn space_is_given_out_in_a_ring_and_all_of_it_comes_back() {
    let mut world = World::new(TINY);
    world.settle();
    let before = world.nor.erases().to_vec();
    for n in 0..40 {
        let id = world.install(&blob(700, n));
        world.submit(std::vec![Change::Remove(id)]).unwrap();
        world.settle();
        world.check_sectors();
    }
    let first = usize::from(TINY.log_sectors);
    let erases: Vec<u32> =
        world.nor.erases()[first..].iter().zip(&before[first..]).map(|(a, b)| a - b).collect();
    let (least, most) = (erases.iter().min().unwrap(), erases.iter().max().unwrap());
    assert!(*least > 0 && most - least <= 2, "{erases:?}");
    assert_eq!(world.store.usage(world.nor.bytes()).extents_free, 12 * 512);
}

#[test]
fn full_fragmented_too_many_and_too_large_are_told_apart() {
    let mut world = World::new(TINY);
    let allocate = |world: &mut World, len: usize| {
        let result = world.allocate(blob(len, len as u64));
        world.settle();
        result
    };
    assert_eq!(allocate(&mut world, 100_000), Err(Error::TooLarge));
    // Two sectors each, so that six fill all twelve; five are enough for what follows.
    let ids: Vec<_> = (0..5).map(|n| allocate(&mut world, 700 + n).unwrap()).collect();
    assert_eq!(allocate(&mut world, 1_500), Err(Error::Full));
    world.submit(std::vec![Change::Remove(ids[1])]).unwrap();
    world.settle();
    assert_eq!(allocate(&mut world, 1_500), Err(Error::Fragmented));
    let usage = world.store.usage(world.nor.bytes());
    assert_eq!((usage.extents_free, usage.extents_largest), (4 * 512, 2 * 512));
    for n in 0..2 {
        allocate(&mut world, 300 + n).unwrap();
    }
    assert_eq!(allocate(&mut world, 1), Err(Error::TooMany));
    world.check_sectors();
}

#[test]
fn one_allocation_at_a_time_and_none_survives_a_restart_half_done() {
    let mut world = World::new(TINY);
    world.settle();
    world.allocate(blob(1_500, 1)).unwrap();
    assert_eq!(world.allocate(blob(10, 2)), Err(Error::Busy));
    world.step().unwrap();
    let mut again = World::on(world.nor.clone(), TINY);
    assert_eq!(again.store.extents(again.nor.bytes()).count(), 0);
    again.check_sectors();
    again.install(&blob(1_500, 1));
}

#[test]
fn those_that_are_gone_are_remembered_up_to_a_bound() {
    let config = Config { max_extents: 16, ..TINY };
    let mut world = World::new(config);
    let mut digests: Vec<Digest> = Vec::new();
    for n in 0..9 {
        let blob = blob(20, n);
        let id = world.install(&blob);
        digests.push(blob.name.digest);
        // The model has the other bound; the store is asked directly.
        let mut group = world.store.group();
        group.retire_extent(world.nor.bytes(), id).unwrap();
        group.submit().unwrap();
        while let Some(op) = world.store.poll(world.nor.bytes()) {
            let result = world.nor.apply(op);
            let _ = world.store.flashed(world.nor.bytes(), result);
        }
        world.model.extents.clear();
        for (id, _) in world.store.extents(world.nor.bytes()) {
            let model = super::world::ExtentModel {
                state: ExtentState::Gone,
                blob: Blob::new(&Random(u64::from(id.0)).bytes(20)),
                marked: Default::default(),
                writing: None,
            };
            world.model.extents.insert(id.0, model);
        }
    }
    let served = world.store.served(world.nor.bytes());
    let held: Vec<Held> = digests.iter().map(|digest| served.held(digest)).collect();
    assert!(held[..5].iter().all(|held| *held == Held::Nothing), "{held:?}");
    assert!(held[5..].iter().all(|held| *held == Held::Gone), "{held:?}");
}

/// An interrupted transfer goes on where it was, through the machine that fetches.
#[test]
fn a_fetch_goes_on_after_a_restart() {
    use capmesh_blob::fetch::{Config as Times, Holdings, Input, Output, Trust};
    use capmesh_wire::Instant;
    type Fetch = capmesh_blob::Fetch<u8, 2, 1, 2, 256, 1>;
    let blob = blob(2_000, 9);
    let mut world = World::new(TINY);
    let id = world.allocate(blob.clone()).unwrap();
    world.settle();
    let mut fetched = 0;
    for until in [4, 5, u32::MAX] {
        let now = Instant::ZERO;
        let fetch = Fetch::new(now, Times::default(), &blob.name, 1).unwrap();
        let have: Vec<u16> = world.store.pieces(world.nor.bytes(), id).collect();
        let mut fetch = fetch.resume(have, Trust::Recorded);
        fetch.handle(now, Input::PeerUp { peer: 1, rank: 0, holdings: Holdings::Whole });
        let mut written = 0;
        while written < until {
            match fetch.poll(now).expect("it goes on") {
                Output::Request { piece, .. } => {
                    let bytes = blob.piece(piece);
                    fetch.handle(now, Input::Part { peer: 1, piece, offset: 0, bytes, last: true });
                }
                Output::Write { piece, bytes, .. } => {
                    assert_eq!(bytes, blob.piece(piece));
                    world.write_piece(id, piece).unwrap();
                    world.settle();
                    (written, fetched) = (written + 1, fetched + 1);
                    fetch.handle(now, Input::Written { piece });
                }
                Output::Read { offset, len } => {
                    let flash = world.nor.bytes();
                    let bytes = world.store.stored(flash, id, offset, u32::from(len)).unwrap();
                    fetch.handle(now, Input::Read { offset, bytes });
                }
                Output::Done => break,
                other => panic!("{other:?}"),
            }
        }
        let again = World::on(world.nor, TINY);
        world = World { model: world.model, ..again };
        world.check();
    }
    assert_eq!(fetched, u32::from(blob.pieces.pieces()), "nothing was fetched twice");
}
