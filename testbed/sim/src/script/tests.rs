//! Scripts repeat, and make sense.

use super::*;
use capmesh_gateway::pipeline::Pipeline as Parsed;
use std::collections::BTreeSet;

const SHAPE: Shape = Shape { nodes: 20, lasts: Duration::from_secs(300), capsules: None };

fn scripts() -> impl Iterator<Item = Script> {
    (0..300).map(|seed| Script::draw(seed, SHAPE))
}

#[test]
fn a_seed_gives_one_script_and_another_seed_another() {
    let mut seen = BTreeSet::new();
    for script in scripts() {
        assert_eq!(script, Script::draw(script.seed, SHAPE));
        assert!(seen.insert(format!("{:?}{:?}", script.pipelines, script.actions)));
    }
}

#[test]
fn actions_are_in_the_order_of_time_and_end_when_the_run_does_or_a_pause_later() {
    for script in scripts() {
        assert!(script.actions.is_sorted_by_key(|(at, _)| *at), "seed {}", script.seed);
        let began = |action: &&(Duration, Action)| !matches!(action.1, Action::Undeploy { .. });
        let last = script.actions.iter().rfind(began);
        assert!(last.is_none_or(|(at, _)| *at < SHAPE.lasts + Duration::from_secs(60)));
    }
}

#[test]
fn pipelines_are_what_a_gateway_takes() {
    for script in scripts() {
        let deployed = script.actions.iter().filter_map(|(_, action)| match action {
            Action::Deploy(pipeline) => Some(&**pipeline),
            _ => None,
        });
        for pipeline in script.pipelines.iter().chain(deployed) {
            let text = pipeline.text();
            let parsed = Parsed::parse("sim.toml", &text);
            let parsed = parsed.unwrap_or_else(|faults| panic!("{text}\n{faults:?}"));
            assert_eq!(parsed.capsules.len(), pipeline.capsules.len());
            assert_eq!(parsed.wires.len(), pipeline.wires.len());
            for Wire { from, to, .. } in &pipeline.wires {
                assert!(from < to && pipeline.capsules[*from].recipe.has_output());
                assert!(pipeline.capsules[*to].recipe.has_input());
            }
        }
    }
}

#[test]
fn as_many_instances_run_as_was_said() {
    for capsules in [1, 2, 17, 60] {
        let script = Script::draw(9, Shape { capsules: Some(capsules), ..SHAPE });
        let count: usize = script.pipelines.iter().map(Pipeline::instances).sum();
        assert!((usize::from(capsules)..usize::from(capsules) * 2).contains(&count));
    }
}

#[test]
fn every_kind_of_trouble_comes_and_stays_away() {
    let swarms: Vec<_> = (0..300).map(Swarm::draw).collect();
    for kind in Kind::ALL {
        let count = swarms.iter().filter(|swarm| swarm.has(kind)).count();
        assert!((100..200).contains(&count), "{kind:?} in {count} of 300");
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert!(swarms.iter().any(|swarm| swarm.kinds().count() == 0));
    assert!(swarms.iter().any(|swarm| swarm.kinds().count() == Kind::ALL.len()));
}

#[test]
fn without_a_kind_everything_else_happens_as_it_would_have() {
    for seed in 0..50 {
        let whole = Script::draw(seed, SHAPE);
        let less = Script::draw_without(seed, SHAPE, &[Kind::Crash]);
        let is_of_crash =
            |action: &Action| matches!(action, Action::Crash { .. } | Action::Boot { .. });
        let rest: Vec<_> =
            whole.actions.iter().filter(|(_, action)| !is_of_crash(action)).cloned().collect();
        assert_eq!(rest, less.actions);
    }
}

#[test]
fn a_part_of_a_script_is_known_by_its_numbers() {
    let script = scripts().find(|script| script.actions.len() > 20).unwrap();
    for numbers in [&[][..], &[0], &[3, 4, 17]] {
        let part = script.only(numbers);
        assert_eq!(part.actions.len(), numbers.len());
        assert_eq!(script.numbers_of(&part), numbers);
    }
}

#[test]
fn the_core_is_most_of_the_nodes() {
    for script in scripts() {
        let nodes = usize::from(SHAPE.nodes + script.spare);
        assert!(script.core.len() * 5 >= nodes * 3, "{:?}", script.core);
        assert!(script.core.is_sorted());
    }
}
