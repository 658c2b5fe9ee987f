//! The registry keeps what runs, is told so every day, and may be silent.

use super::with_stack;
use capmesh_gateway::api::{Answer, Deploy, Refusal, RefusalCode, Request};
use capmesh_sim::scenario::{await_running, deploy, lamp};
use capmesh_sim::{World, capsules};
use capmesh_wire::Instant;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Beacons that hardly ever act, so that days pass quickly.
fn calm(capsules: u32) -> (World, String) {
    let mut world = World::new(1, 1, &capsules::config());
    world.adopt(1);
    let mut text = "[pipeline]\nname = \"test\"\n".to_owned();
    for n in 1..=capsules {
        let tag = format!("test/beacon:{n}");
        world.registry.push(&tag, &capsules::beacon(3_600_000_000 - n));
        text += &format!("[[capsule]]\nname = \"c{n}\"\nuse = \"{tag}\"\n");
    }
    (world, text)
}

/// When capsules were asked for by their digests, after `since`.
fn renewals(world: &World, since: Instant) -> Vec<(Instant, &str)> {
    let all = world.registry.resolved.iter().filter(|(at, text)| *at > since && text.contains('@'));
    all.map(|(at, text)| (*at, text.as_str())).collect()
}

#[test]
fn whatever_runs_is_asked_for_once_a_day() {
    with_stack(|| {
        let (mut world, text) = calm(3);
        deploy(&mut world, &text);
        await_running(&mut world);
        let begun = world.now;
        world.run_for(Duration::from_secs(60));
        let asked = renewals(&world, begun);
        let mut capsules: Vec<&str> = asked.iter().map(|(_, text)| *text).collect();
        capsules.sort_unstable();
        capsules.dedup();
        assert_eq!((capsules.len(), asked.len() <= 4), (3, true), "{asked:?}");
        assert!(capsules.iter().all(|text| text.starts_with("test/beacon@sha256:")));

        // Its first day; and it is killed in the second, after which it does not wait for a day.
        let begun = world.now;
        world.run_for(DAY);
        let asked = renewals(&world, begun);
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked.windows(2).all(|two| two[1].0.saturating_since(two[0].0) > DAY / 4));
        world.kill_gateway();
        let begun = world.now;
        world.run_for(Duration::from_secs(60));
        assert!(renewals(&world, begun).len() >= 3);
    });
}

/// What a gateway says to a pipeline.
fn refusal(world: &mut World, text: String) -> Refusal {
    let wish = Deploy { text, file: None, dry_run: false };
    match world.ask(&Request::Deploy(wish)) {
        Some(Err(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_registry_is_not_one_that_lacks_the_capsules() {
    with_stack(|| {
        let (mut world, text) = calm(3);
        world.downtime = Duration::from_secs(60);
        world.kill_registry();
        let begun = world.now;
        let refused = refusal(&mut world, text.clone());
        assert!(world.now.saturating_since(begun) < Duration::from_secs(21));
        assert_eq!(refused.code, RefusalCode::Registry);
        assert_eq!(refused.message, "the registry does not answer");
        assert_eq!(refused.causes, ["3 capsules of the pipeline can be had only from it"]);
        assert!(refused.help.is_some() && refused.mistakes.is_empty());
        // Mistakes that are seen without it are told.
        let wrong = format!("{text}[[wire]]\nfrom = \"c1.out\"\nto = \"c7.in\"\n");
        let refused = refusal(&mut world, wrong);
        assert_eq!(refused.code, RefusalCode::InvalidPipeline);
        let [mistake] = &refused.mistakes[..] else { panic!("{refused:?}") };
        assert_eq!((mistake.line, mistake.column, mistake.length), (14, 6, 7));
        assert_eq!(mistake.nearest.as_deref(), Some("c1"));

        world.run_for(Duration::from_secs(60));
        let missing = refusal(&mut world, text.replace("beacon:3", "beacon:4"));
        let [mistake] = &missing.mistakes[..] else { panic!("{missing:?}") };
        assert_eq!(mistake.message, "the registry has no `test/beacon:4`");
        deploy(&mut world, &text);
    });
}

#[test]
fn the_other_registry_is_asked_when_one_does_not_answer() {
    with_stack(|| {
        let mut world = World::with_absent_registry(3, 2, &capsules::config());
        (1..=2).for_each(|n| world.adopt(n));
        let begun = world.now;
        lamp(&mut world, "");
        let took = world.now.saturating_since(begun);
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert!(matches!(world.insist(&Request::Plan), Answer::Plan(_)));
    });
}
