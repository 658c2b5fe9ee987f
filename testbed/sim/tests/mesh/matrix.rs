//! A fair part of the migration matrix; `cargo xtask sim matrix` runs all of it.

use super::with_stack;
use capmesh_sim::matrix::{Cell, Party, cells, run};
use std::time::Duration;

/// One cell in so many, another one for each victim.
const PART: usize = 5;

fn part(victim: Option<Party>, first: usize) {
    with_stack(move || {
        let cells = cells().filter(|cell| cell.victim == victim).skip(first).step_by(PART);
        let broken: Vec<_> =
            cells.filter_map(|cell| Some(format!("{cell}: {}", run(cell, 1).err()?))).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    });
}

/// Numbers wait up to 200 ms in any case, for a commit of the one in the middle and one of the last.
#[test]
fn where_nothing_goes_wrong_nobody_waits_until_they_try_again() {
    with_stack(|| {
        let quiet = Cell { step: "prepare", after: false, victim: None, parted: None };
        let outcome = run(quiet, 1).unwrap();
        assert!(outcome.moved && outcome.pause < Duration::from_millis(250), "{outcome:?}");
    });
}

#[test]
fn two_parties_are_parted() {
    part(None, 0);
}

#[test]
fn the_source_crashes() {
    part(Some(Party::Source), 1);
}

#[test]
fn the_target_crashes() {
    part(Some(Party::Target), 2);
}

#[test]
fn the_gateway_crashes() {
    part(Some(Party::Gateway), 3);
}
