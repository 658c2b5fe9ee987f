//! Modules that nobody has written: made by `wasm-smith`, or of capsules with bytes changed. Each is
//! admitted or refused, and one that is admitted runs whatever it has; the node must not notice.
//!
//! The whole run, some minutes:
//! `cargo nextest run -p capmesh-runtime --cargo-profile sim --run-ignored only --no-capture modules`.
//! What fails is named by its number, and `MODULE=number` runs that one alone.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "helpers of tests")]

mod at_bounds;
mod dice;
mod generate;
mod heap;
mod ordeal;

use generate::Kind;
use ordeal::{Outcome, undergo};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// How often each end was met, by kind of module.
type Tally = BTreeMap<(Kind, Outcome), u32>;

/// Runs the modules of these numbers.
fn run(numbers: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::new();
    for number in numbers {
        let (kind, module) = generate::module(number);
        let outcome = catch_unwind(AssertUnwindSafe(|| undergo(&module, number)));
        let Ok(outcome) = outcome else {
            let path = std::env::temp_dir().join(format!("capmesh-module-{number}.wasm"));
            std::fs::write(&path, &module).expect("there is room for a module");
            unreachable!("MODULE={number} ({kind:?}) fails; it is in {}", path.display());
        };
        *tally.entry((kind, outcome)).or_default() += 1;
    }
    tally
}

/// Whatever is to be tried is tried: each kind of module has had each end that it can have.
fn assert_fair(tally: &Tally) {
    for ((kind, outcome), count) in tally {
        println!("{count:>7} {kind:?}: {outcome:?}");
    }
    let count = |kinds: &[Kind], outcome| -> u32 {
        kinds.iter().filter_map(|kind| tally.get(&(*kind, outcome))).sum()
    };
    for outcome in [Outcome::Refused, Outcome::Ran, Outcome::Trapped] {
        assert!(count(&[Kind::Capsule], outcome) > 0, "no capsule was {outcome:?}");
        assert!(count(&[Kind::Changed], outcome) > 0, "no changed capsule was {outcome:?}");
    }
    // A change makes a loop endless too seldom to be asked for.
    assert!(count(&[Kind::Capsule], Outcome::OutOfFuel) > 0, "no capsule ran out of fuel");
    assert!(count(&[Kind::Anything, Kind::Accepted], Outcome::Refused) > 0);
}

#[test]
fn two_thousand_modules_do_no_harm() {
    assert_fair(&run(0..2_000));
}

#[test]
#[ignore = "takes minutes: see the head of this file"]
fn a_hundred_thousand_modules_do_no_harm() {
    let tally = match std::env::var("MODULE") {
        Ok(number) => {
            let number = number.parse().expect("MODULE is a number");
            println!("{:?}", run(number..=number));
            return;
        }
        Err(_) => run(0..100_000),
    };
    assert_fair(&tally);
}
