//! Peers that had it and are gone without a word.

use super::*;

const QUARTER: Duration = Duration::from_secs(1);

/// A machine in the middle of a blob of 20 chunks: its pages are there, and the neighbour is asked for
/// chunks that a registry has, too.
fn midway(answers_take: Duration) -> (Bench, Vec<Seen>) {
    let mut bench = Bench::new(5000);
    bench.peer_up(1, 0, Holdings::Whole);
    bench.peer_up(9, 1, Holdings::Whole);
    let mut seen = bench.outputs();
    while asked(&seen).iter().any(|piece| *piece >= 20) {
        bench.now += answers_take;
        for piece in asked(&seen) {
            bench.answer(1, piece);
        }
        seen = bench.outputs();
    }
    assert!(!seen.is_empty() && seen.iter().all(|event| matches!(event, Seen::Ask(1, ..))));
    (bench, seen)
}

/// The registry answers, and nobody else does. Until it is done; whom it asked for what.
fn go_on(bench: &mut Bench) -> Vec<(u8, u16)> {
    let mut asked = Vec::new();
    let mut seen = Vec::new();
    while !seen.contains(&Seen::Done) {
        seen = bench.wait();
        while seen.iter().any(|event| matches!(event, Seen::Ask(9, ..))) {
            for event in core::mem::take(&mut seen) {
                let Seen::Ask(peer, piece, _) = event else { continue };
                asked.push((peer, piece));
                if peer == 9 {
                    bench.answer(9, piece);
                    seen.extend(bench.outputs());
                }
            }
        }
    }
    asked
}

#[test]
fn what_a_dead_neighbour_was_asked_for_comes_from_the_registry_soon() {
    let (mut bench, _) = midway(Duration::ZERO);
    let died = bench.now;
    let asked = go_on(&mut bench);
    assert!(bench.stored.is_in(&bench.flash));
    assert_eq!(bench.now.saturating_since(died), QUARTER);
    // It is not given another piece to keep.
    assert!(asked.iter().all(|(peer, piece)| *peer == 9 || *piece == HOLDINGS), "{asked:?}");
}

#[test]
fn where_answers_take_long_a_neighbour_has_longer() {
    let (mut bench, _) = midway(Duration::from_millis(700));
    let died = bench.now;
    go_on(&mut bench);
    assert_eq!(bench.now.saturating_since(died), Duration::from_millis(2_800));
    // And where nobody else has it, all the time there is.
    let mut bench = Bench::new(200);
    bench.peer_up(1, 0, Holdings::Whole);
    bench.outputs();
    bench.wait();
    assert_eq!(bench.now, T + config().request_timeout);
}

#[test]
fn one_that_answers_again_is_asked_before_the_registry_again() {
    let (mut bench, _) = midway(Duration::ZERO);
    let mut seen = bench.wait();
    let is_question = |event: &Seen| matches!(event, Seen::Ask(1, HOLDINGS, _));
    // The registry takes long, but answers.
    while !seen.iter().any(is_question) {
        assert!(bench.now < T + Duration::from_secs(20));
        let pieces = asked(&seen);
        bench.now += Duration::from_millis(600);
        seen = bench.outputs();
        if let Some(piece) = pieces.first() {
            bench.answer(9, *piece);
        }
        seen.extend(bench.outputs());
    }
    bench.handle(Input::Part { peer: 1, piece: HOLDINGS, offset: 0, bytes: &[], last: true });
    let seen = bench.outputs();
    assert!(seen.iter().any(|event| matches!(event, Seen::Ask(1, 0..20, _))), "{seen:?}");
}

#[test]
fn any_number_of_dead_neighbours_leave_room_for_the_one_who_answers() {
    // Three who have never answered are known before the registry is; there are four requests.
    let mut bench = Bench::new(5000);
    for peer in 1..=2 {
        bench.peer_up(peer, 0, Holdings::Unknown);
    }
    bench.fetch.allowed = 2;
    bench.peer_up(9, 1, Holdings::Unknown);
    assert_eq!(bench.outputs(), [Seen::Ask(1, HOLDINGS, 0), Seen::Ask(2, HOLDINGS, 0)]);
    let seen = bench.wait();
    assert_eq!(bench.now, T + QUARTER);
    assert!(seen.contains(&Seen::Ask(9, HOLDINGS, 0)), "{seen:?}");
    bench.handle(Input::Part { peer: 9, piece: HOLDINGS, offset: 0, bytes: &[], last: true });
    let seen = bench.outputs();
    assert!(seen.contains(&Seen::Ask(9, 23, 0)), "{seen:?}");
    bench.answer(9, 23);
    go_on(&mut bench);
    assert!(bench.now < T + Duration::from_secs(10));
}

#[test]
fn the_registry_finds_a_place_among_neighbours_that_fill_the_table() {
    let mut bench = Bench::new(200);
    for peer in 1..=3 {
        bench.peer_up(peer, 0, Holdings::Unknown);
    }
    bench.peer_up(4, 0, Holdings::Unknown);
    assert_eq!(bench.fetch.counters().peers_ignored, 1);
    bench.peer_up(9, 1, Holdings::Whole);
    assert_eq!(bench.fetch.counters().peers_ignored, 1);
    let seen = bench.outputs();
    assert!(seen.contains(&Seen::Ask(9, 0, 0)), "{seen:?}");
}

#[test]
fn who_has_nothing_gives_way_and_who_is_asked_does_not() {
    let mut bench = Bench::new(200);
    for peer in 1..=3 {
        bench.peer_up(peer, 1, Holdings::Unknown);
    }
    let asked = bench.outputs();
    assert!(asked.contains(&Seen::Ask(1, HOLDINGS, 0)), "{asked:?}");
    bench.handle(Input::Refused { peer: 1, piece: HOLDINGS, refusal: Refusal::NotFound });
    bench.peer_up(5, 1, Holdings::Whole);
    let seen = bench.outputs();
    assert!(seen.contains(&Seen::Ask(5, 0, 0)), "{seen:?}");
}

#[test]
fn what_is_abandoned_takes_back_its_requests() {
    let mut bench = Bench::new(5000);
    bench.peer_up(1, 0, Holdings::Whole);
    let asked = asked(&bench.outputs());
    assert!(!asked.is_empty());
    bench.fetch.abandon();
    let seen = bench.outputs();
    let cancelled = seen.iter().filter(|event| matches!(event, Seen::Cancel(1, _)));
    assert_eq!(cancelled.count(), asked.len(), "{seen:?}");
}
