//! The log: bounds, capacity, order, wear.

use super::world::{Change, Random, TINY, World};
use crate::flash::{Config, Error, Geometry, RESERVED_KINDS};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

#[test]
fn what_is_read_is_what_is_durable() {
    let mut world = World::new(TINY);
    let first = world.put((1, 1), b"old").unwrap();
    world.settle();
    assert!(world.store.is_durable(first));
    let second = world.put((1, 1), b"new").unwrap();
    assert!(second > first && !world.store.is_durable(second));
    assert_eq!(world.store.get(world.nor.bytes(), 1, 1), Some(&b"old"[..]));
    world.settle();
    assert_eq!(world.store.get(world.nor.bytes(), 1, 1), Some(&b"new"[..]));
    world.delete((1, 1)).unwrap();
    world.settle();
    assert_eq!(world.store.get(world.nor.bytes(), 1, 1), None);
    assert!(!world.store.contains(1, 1));
}

#[test]
fn records_of_a_kind_come_in_the_order_of_their_ids() {
    let mut world = World::new(TINY);
    for (kind, id) in [(2, 9), (1, 7), (2, 1), (2, u32::MAX), (3, 0)] {
        world.put((kind, id), &[kind]).unwrap();
        world.settle();
    }
    let ids =
        |kind| world.store.iter(world.nor.bytes(), kind).map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1), ids(2)), (vec![], vec![7], vec![1, 9, u32::MAX]));
}

#[test]
fn bounds_are_errors_that_say_which() {
    let mut world = World::new(TINY);
    let longest = usize::from(TINY.max_value());
    assert_eq!(world.put((0, 0), &vec![0; longest + 1]), Err(Error::TooLarge));
    assert_eq!(world.put((0, 0), &vec![0; 100_000]), Err(Error::TooLarge));
    assert_eq!(world.put((RESERVED_KINDS, 0), b""), Err(Error::Kind));
    assert_eq!(world.delete((255, 0)), Err(Error::Kind));
    world.put((0, 0), &vec![1; longest]).unwrap();
    world.put((0, 1), &vec![1; longest]).unwrap();
    assert_eq!(world.put((0, 2), &vec![1; longest]), Err(Error::Busy));
    world.settle();
    world.put((0, 2), &vec![1; longest]).unwrap();
    world.settle();
    for id in 0..u32::from(TINY.max_records) - 3 {
        world.put((1, id), b"").unwrap();
        world.settle();
    }
    assert_eq!(world.put((1, 100), b""), Err(Error::TooMany));
    // One may go for another at once, whatever comes first in the group.
    world.submit(vec![Change::Put((1, 100), vec![7]), Change::Delete((1, 0))]).unwrap();
    world.settle();
    world.check();
}

#[test]
fn a_group_that_does_not_fit_leaves_nothing() {
    let mut world = World::new(TINY);
    let longest = usize::from(TINY.max_group);
    let half = vec![3; longest / 2];
    let result =
        world.submit(vec![Change::Put((0, 0), half.clone()), Change::Put((0, 1), half.clone())]);
    assert_eq!(result, Err(Error::TooLarge));
    let mut group = world.store.group();
    group.put(0, 0, &half).unwrap();
    assert_eq!(group.put(0, 1, &half), Err(Error::TooLarge));
    assert_eq!(group.submit(), Err(Error::TooLarge), "an error that was overlooked");
    let _ = world.store.group().put(0, 0, &half);
    world.settle();
    world.check();
    assert_eq!(world.store.usage(world.nor.bytes()).records, 0);
}

#[test]
fn the_last_change_of_a_key_in_a_group_counts() {
    let mut world = World::new(TINY);
    world.put((0, 1), b"x").unwrap();
    world
        .submit(vec![
            Change::Put((0, 0), b"a".to_vec()),
            Change::Put((0, 0), b"b".to_vec()),
            Change::Delete((0, 1)),
            Change::Put((0, 1), b"c".to_vec()),
            Change::Put((0, 2), b"d".to_vec()),
            Change::Delete((0, 2)),
        ])
        .unwrap();
    world.settle();
    world.check();
    World::on(world.nor.clone(), TINY).model.clone_from(&world.model);
    let again = World { model: world.model, ..World::on(world.nor, TINY) };
    again.check();
}

#[test]
fn sectors_are_worn_evenly_though_one_value_changes_all_the_time() {
    let mut world = World::new(TINY);
    for id in 0..8 {
        world.put((1, id), &[5; 40]).unwrap();
        world.settle();
    }
    for n in 0..3_000_u32 {
        world.put((2, 0), &n.to_le_bytes()).unwrap();
        world.settle();
    }
    let stats = world.store.stats();
    assert!(stats.least_erased > 20, "{stats:?}");
    assert!(stats.most_erased - stats.least_erased <= 1, "{stats:?}");
    let erases = world.nor.erases();
    assert_eq!(erases[..5].iter().max(), Some(&stats.most_erased));
    // A restart changes nothing of it.
    let again = World::on(world.nor.clone(), TINY);
    assert_eq!(again.store.stats().most_erased, stats.most_erased);
}

/// Fills the log until it says that it is full.
fn fill(world: &mut World, random: &mut Random, lens: &dyn Fn(&mut Random) -> usize) -> u32 {
    for id in 0.. {
        let len = lens(random);
        match world.put((1, id), &random.bytes(len)) {
            Ok(_) => drop(world.settle()),
            Err(Error::Full | Error::TooMany) => return id,
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!()
}

fn geometries() -> impl Strategy<Value = Config> {
    let sizes = (9_u32..13, 0_u32..6, 4_u32..9, 3_u16..9, any::<bool>());
    sizes
        .prop_flat_map(|(sector, unit, page, log_sectors, rewrites)| {
            let unit = 1 << unit;
            let geometry =
                Geometry { sector: 1 << sector, unit, page: unit.max(1 << page), rewrites };
            let config = Config { geometry, log_sectors, max_records: 400, ..TINY };
            let longest = config.sector_data() - config.floor_frame() - 8 - unit;
            (Just(config), 120_u16..u16::try_from(longest).unwrap().clamp(121, 3_000))
        })
        .prop_map(|(config, max_group)| Config { max_group, queue: max_group, ..config })
        .prop_filter("room for two", |config| config.capacity() >= 2 * config.longest_frame())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A log that is as full as it may be takes any replacement, for ever, whatever the lengths.
    #[test]
    fn a_full_log_goes_on(config in geometries(), seed in any::<u64>(), long in any::<bool>()) {
        let mut random = Random(seed);
        let longest = usize::from(config.max_value());
        let lens = move |random: &mut Random| match random.below(3) {
            // The worst that can be: so long that two never share a sector.
            _ if long => longest - random.below(8),
            0 => longest,
            1 => random.below(20),
            _ => random.below(longest + 1),
        };
        let mut world = World::new(config);
        let count = fill(&mut world, &mut random, &lens);
        prop_assert!(count > 0);
        for _ in 0..200 {
            let id = random.below(count as usize) as u32;
            let old = world.model.records[&(1, id)].len();
            let value = random.bytes(old);
            world.put((1, id), &value).unwrap();
            world.settle();
            if random.below(4) == 0 {
                let other = random.below(count as usize) as u32;
                let len = world.model.records[&(1, other)].len();
                if len > 40 {
                    // Shorter, and as long again: a full log gives back what it has taken.
                    world.put((1, other), &random.bytes(len - 30)).unwrap();
                    world.settle();
                    world.put((1, other), &random.bytes(len)).unwrap();
                    world.settle();
                }
            }
            prop_assert!(!world.store.has_failed());
        }
        world.check();
        let again = World { model: world.model, ..World::on(world.nor, config) };
        again.check();
    }
}
