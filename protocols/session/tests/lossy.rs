//! Handshakes and requests over a link that loses, doubles, delays and reorders, while either side
//! reboots: every exchange ends in one answer or one reported failure, no request is taken twice by
//! the same incarnation of a node, and everything comes to rest.

mod common;

use capmesh_coap::test_util::Faults;
use capmesh_session::{Config, Workflow};
use capmesh_wire::Instant;
use common::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    loss: u8,
    duplication: u8,
    delay_millis: u64,
    answer_millis: u64,
    workflow: Workflow,
    lifetime_secs: u64,
    /// Who asks, and when.
    requests: Vec<(u16, u64)>,
    /// Who reboots, and when.
    reboots: Vec<(u16, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Ask(u16, u32),
    Reboot(u16),
}

/// How exchanges ended.
#[derive(Debug, Default)]
struct Ends {
    answered: usize,
    failed: usize,
    /// Went down with their node.
    forgotten: usize,
}

impl Ends {
    fn add(&mut self, node: &Node) {
        self.answered += node.answered.len();
        self.failed += node.failed.len();
        self.forgotten += node.asked.len();
        assert!(node.refused.is_empty(), "{:?}", node.refused);
        let mut seen = BTreeSet::new();
        for taken in &node.taken {
            assert!(seen.insert(taken.what), "request {} was taken twice", taken.what);
        }
    }
}

fn run(plan: &Plan) -> Ends {
    let config = Config {
        workflow: plan.workflow,
        lifetime: Duration::from_secs(plan.lifetime_secs),
        ..Config::default()
    };
    let faults = Faults {
        loss: plan.loss,
        duplication: plan.duplication,
        delay: Duration::from_millis(1)..Duration::from_millis(1 + plan.delay_millis),
    };
    let (mut world, roster) = world(2, config, plan.seed, faults);
    let mut steps: Vec<_> = (0..)
        .zip(&plan.requests)
        .map(|(what, (who, at))| (*at, Step::Ask(*who, what)))
        .chain(plan.reboots.iter().map(|(who, at)| (*at, Step::Reboot(*who))))
        .collect();
    steps.sort_unstable();
    let mut ends = Ends::default();
    let mut accepted = 0;
    for (at, step) in steps {
        world.run_until(Instant::from_millis(at));
        let now = world.now;
        for node in world.machines.values_mut() {
            node.answer_after = Duration::from_millis(plan.answer_millis);
        }
        match step {
            Step::Ask(who, what) => {
                accepted += usize::from(world.machine(address(who)).ask(now, 1 - who, what));
            }
            Step::Reboot(who) => {
                ends.add(world.machine(address(who)));
                reboot(&mut world, who, 2, &roster, config);
            }
        }
    }
    settle(&mut world);
    for node in world.machines.values() {
        assert!(node.asked.is_empty(), "exchanges without an end: {:?}", node.asked);
        ends.add(node);
    }
    assert_eq!(ends.answered + ends.failed + ends.forgotten, accepted);
    ends
}

fn plan() -> impl Strategy<Value = Plan> {
    let workflow = prop_oneof![3 => Just(Workflow::Combined), 1 => Just(Workflow::Separate)];
    (
        (any::<u64>(), 0..=40_u8, 0..=30_u8, 0..6_000_u64, 0..3_000_u64, workflow),
        20..200_u64,
        prop::collection::vec((0..2_u16, 0..90_000_u64), 1..16),
        prop::collection::vec((0..2_u16, 0..150_000_u64), 0..4),
    )
        .prop_map(|(link, lifetime_secs, requests, reboots)| {
            let (seed, loss, duplication, delay_millis, answer_millis, workflow) = link;
            Plan {
                seed,
                loss,
                duplication,
                delay_millis,
                answer_millis,
                workflow,
                lifetime_secs,
                requests,
                reboots,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_exchange_ends_exactly_once(plan in plan()) {
        run(&plan);
    }

    /// The same with both sides beginning at the same moment.
    #[test]
    fn so_they_do_when_both_begin_at_once(mut plan in plan(), at in 0..20_000_u64) {
        plan.requests.push((0, at));
        plan.requests.push((1, at));
        run(&plan);
    }
}

/// A reboot at every moment of a handshake and of the exchange behind it, of either side.
#[test]
fn either_side_may_reboot_at_any_step() {
    for who in 0..2 {
        for workflow in [Workflow::Combined, Workflow::Separate] {
            for step in 0..12_u64 {
                let plan = Plan {
                    seed: step,
                    loss: 0,
                    duplication: 0,
                    delay_millis: 0,
                    answer_millis: 5,
                    workflow,
                    lifetime_secs: 3600,
                    requests: vec![(1, 0), (1, 40_000), (0, 80_000)],
                    reboots: vec![(who, step)],
                };
                let ends = run(&plan);
                assert_eq!(ends.answered + ends.forgotten, 3, "{plan:?} {ends:?}");
            }
        }
    }
}

#[test]
fn thirty_percent_of_loss_and_reboots_cost_patience_but_few_exchanges() {
    let (mut answered, mut failed) = (0, 0);
    for seed in 0..4 {
        let plan = Plan {
            seed,
            loss: 30,
            duplication: 10,
            delay_millis: 500,
            answer_millis: 100,
            workflow: Workflow::Combined,
            lifetime_secs: 600,
            requests: (0..40).map(|n| (u16::try_from(n % 2).unwrap(), n * 20_000)).collect(),
            reboots: (0..6)
                .map(|n| (u16::try_from(n % 2).unwrap(), 65_000 + n * 130_000))
                .collect(),
        };
        let ends = run(&plan);
        answered += ends.answered;
        failed += ends.failed;
    }
    assert!(answered >= 135, "{answered} answered, {failed} failed");
}
