//! The registry keeps what runs, is told so every minute, and may be silent.

use super::with_stack;
use capmesh_gateway::api::{Answer, Deploy, Refusal, RefusalCode, RegistryView, Request};
use capmesh_sim::scenario::{await_running, deploy, lamp};
use capmesh_sim::{World, capsules};
use capmesh_wire::Instant;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Beacons that hardly ever act, so that hours pass quickly.
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

/// What the gateway says of the registry.
fn registry(world: &mut World) -> RegistryView {
    match world.insist(&Request::Site) {
        Answer::Site(site) => site.registry,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_runs_is_asked_for_in_turn() {
    with_stack(|| {
        let (mut world, text) = calm(3);
        deploy(&mut world, &text);
        await_running(&mut world);
        let begun = world.now;
        world.run_for(MINUTE * 60);
        let asked = renewals(&world, begun);
        assert!((59..=61).contains(&asked.len()), "{asked:?}");
        assert!(asked.iter().all(|(_, text)| text.starts_with("test/beacon@sha256:")));
        assert!(asked.windows(3).all(|three| {
            let [(_, a), (_, b), (_, c)] = three else { return false };
            a != b && b != c && a != c
        }));
        // A gateway that was off for long does not wait.
        world.kill_gateway();
        let begun = world.now;
        world.run_for(MINUTE / 2);
        assert_eq!(renewals(&world, begun).len(), 1);
    });
}

#[test]
fn who_looks_sees_whether_the_registry_is_there_and_has_what_runs() {
    with_stack(|| {
        let (mut world, text) = calm(2);
        deploy(&mut world, &text);
        await_running(&mut world);
        world.run_for(MINUTE);
        let seen = registry(&mut world);
        assert_eq!((seen.known, seen.answers, seen.missing.len()), (1, true, 0));
        assert!(seen.heard_ms.is_some_and(|ms| ms <= 61_000), "{seen:?}");

        world.downtime = MINUTE * 3;
        world.kill_registry();
        world.run_for(MINUTE * 2);
        let seen = registry(&mut world);
        assert!(!seen.answers && seen.heard_ms.is_some_and(|ms| ms >= 60_000), "{seen:?}");

        world.run_for(MINUTE * 3);
        assert!(registry(&mut world).answers);
        world.registry.forget_all();
        world.run_for(MINUTE * 3);
        let seen = registry(&mut world);
        assert!(seen.answers && seen.missing.len() == 2, "{seen:?}");
        assert!(seen.missing[0].starts_with("test/beacon:"));
        for n in 1..=2 {
            world.registry.push(&format!("test/beacon:{n}"), &capsules::beacon(3_600_000_000 - n));
        }
        world.run_for(MINUTE * 3);
        assert!(registry(&mut world).missing.is_empty());
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
