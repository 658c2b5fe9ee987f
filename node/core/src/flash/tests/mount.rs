//! Any content of flash is legal.

use super::world::{Blob, Change, ONCE, Random, TINY, World};
use crate::flash::nor::Nor;
use crate::flash::{Config, Error, Store};
use proptest::prelude::*;
use std::vec::Vec;

/// A store that has been in use.
fn used(config: Config, seed: u64) -> World {
    let mut random = Random(seed);
    let mut world = World::new(config);
    let blob = Blob::new(&random.bytes(900));
    let id = world.allocate(blob).unwrap();
    for n in 0..60_u32 {
        let value = random.bytes(n as usize % 40);
        world.put((n as u8 % 2, n % 5), &value).unwrap();
        world.settle();
    }
    world.write_piece(id, 0).unwrap();
    world.settle();
    world.submit(std::vec![Change::Commit(id)]).unwrap();
    world.settle();
    world
}

/// Mounts whatever it is, and uses it.
fn use_it(config: Config, content: Vec<u8>) {
    let mut nor = Nor::with_content(config.geometry, content);
    let mut store = Store::mount(nor.bytes(), config);
    for (id, extent) in store.extents(nor.bytes()) {
        assert!(extent.first + extent.sectors <= config.extent_sectors);
        let _ = (store.bytes(nor.bytes(), id), store.pieces(nor.bytes(), id).count());
    }
    let _ = store.usage(nor.bytes());
    let blob = Blob::new(b"some bytes");
    let mut id = None;
    for round in 0..6_u8 {
        let put = store.put(1, u32::from(round), &[round; 30]);
        assert!(matches!(
            put,
            Ok(_) | Err(Error::Full | Error::TooMany | Error::Busy | Error::Failed)
        ));
        id = id.or_else(|| store.allocate(nor.bytes(), &blob.name, super::world::OWNER).ok());
        for n in 0.. {
            assert!(n < 20_000, "it does not come to rest");
            let Some(op) = store.poll(nor.bytes()) else { break };
            let result = nor.apply(op);
            let _ = store.flashed(nor.bytes(), result);
        }
        if let Ok(ticket) = put {
            assert!(store.is_durable(ticket) || store.has_failed());
        }
    }
    let kept: Vec<Vec<u8>> = store.iter(nor.bytes(), 1).map(|(_, value)| value.to_vec()).collect();
    let again = Store::mount(nor.bytes(), config);
    let found: Vec<Vec<u8>> = again.iter(nor.bytes(), 1).map(|(_, value)| value.to_vec()).collect();
    assert_eq!(kept, found);
}

#[test]
fn noise_and_constants_are_empty_stores() {
    for config in [TINY, ONCE] {
        let len = config.bytes() as usize;
        for content in [std::vec![0xff; len], std::vec![0; len], Random(3).bytes(len)] {
            let store = Store::mount(&content, config);
            assert_eq!(store.usage(&content).records, 0);
            use_it(config, content);
        }
    }
}

#[test]
fn another_geometry_finds_nothing_and_breaks_nothing() {
    let world = used(TINY, 1);
    use_it(ONCE, world.nor.bytes().iter().copied().cycle().take(ONCE.bytes() as usize).collect());
    let fewer = Config { extent_sectors: 2, max_records: 6, max_extents: 1, ..TINY };
    use_it(fewer, world.nor.bytes().to_vec());
}

#[test]
fn rot_costs_no_more_than_the_frame_it_is_in() {
    let world = used(TINY, 2);
    let all = world.model.records.len();
    let end = TINY.geometry.sector * u32::from(TINY.log_sectors);
    for at in 0..end {
        let mut nor = world.nor.clone();
        nor.spoil(at, 0x10);
        let store = Store::mount(nor.bytes(), TINY);
        let right = world.model.records.iter();
        let right = right
            .filter(|((kind, id), value)| store.get(nor.bytes(), *kind, *id) == Some(&value[..]));
        let in_header = at % TINY.geometry.sector < 20;
        // A frame's length guards what follows it; a sector's header all of it.
        assert!(in_header || right.count() + 12 >= all, "at {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_content_does_harm(
        seed in 0_u64..4,
        once in any::<bool>(),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>(), 0_usize..40), 0..12),
    ) {
        let config = if once { ONCE } else { TINY };
        let mut content = used(config, seed).nor.bytes().to_vec();
        let log = usize::from(config.log_sectors) * config.geometry.sector as usize;
        for (at, value, len) in changes {
            let at = usize::from(at) % log;
            // Copies of what is there are more telling than noise.
            if value % 2 == 0 {
                let from = usize::from(value) * 13 % (log - len);
                let len = len.min(log - at);
                content.copy_within(from..from + len, at);
            } else {
                content.iter_mut().skip(at).take(len).for_each(|byte| *byte ^= value);
            }
        }
        use_it(config, content);
    }
}
