use super::super::testing::{
    Still, down, ends, fresh, from, handles, owned, publishes, publishes_as, show, taken,
};
use super::*;
use crate::GATEWAY;
use capmesh_wire::Seq;

/// The producer, on host 1.
const P: (u32, u32) = (10, 1);
/// The consumer, on host 2.
const C: (u32, u32) = (20, 1);

/// Both are up, and the producer has published so many messages.
fn begun(messages: u64) -> Vec<Event> {
    let mut events = vec![fresh(1, P), fresh(2, C)];
    events.extend((0..messages).map(|seq| publishes(1, P, seq, 100 + seq)));
    events
}

fn verdict(events: impl IntoIterator<Item = Event>) -> Option<String> {
    let events: Vec<_> = events.into_iter().collect();
    show(&mut Delivery::default(), &events).err().map(|wrong| wrong.to_string())
}

fn expect_wrong(events: impl IntoIterator<Item = Event>, what: &str) {
    let said = verdict(events).expect("it is noticed");
    assert!(said.contains(what), "{said}");
}

fn handled(seqs: impl IntoIterator<Item = u64>) -> Vec<Event> {
    seqs.into_iter().map(|seq| handles(2, C, 10, seq, 100 + seq)).collect()
}

#[test]
fn every_message_once_and_in_order_is_fine() {
    assert_eq!(verdict(begun(5).into_iter().chain(handled(0..5))), None);
}

#[test]
fn a_message_twice_is_not() {
    expect_wrong(begun(5).into_iter().chain(handled([0, 1, 1])), "handled again");
}

#[test]
fn one_that_is_missing_is_not() {
    expect_wrong(begun(5).into_iter().chain(handled([0, 1, 3])), "#2 comes before");
}

#[test]
fn one_that_was_never_published_is_not() {
    expect_wrong(begun(2).into_iter().chain(handled([0, 1, 2])), "not what was published");
    let other = begun(2).into_iter().chain([handles(2, C, 10, 0, 7)]);
    expect_wrong(other, "not what was published");
}

#[test]
fn what_no_commit_covers_may_be_handled_again() {
    let events = begun(5).into_iter().chain(handled([0, 1]));
    let events = events.chain([taken(2, C, 1)]).chain(handled([2, 3]));
    let again = events.clone().chain([from(2, C, 1, 1, false)]).chain(handled([2, 3, 4]));
    assert_eq!(verdict(again), None);
    let skipped = events.chain([from(2, C, 1, 1, false)]).chain(handled([4]));
    expect_wrong(skipped, "#2 comes before");
}

#[test]
fn the_first_ones_are_not_lost_either() {
    let restarts = begun(5).into_iter().chain(handled([0, 1])).chain([fresh(2, C)]);
    assert_eq!(verdict(restarts.clone().chain(handled([0, 1]))), None);
    expect_wrong(restarts.chain(handled([2])), "#0 comes before");
}

#[test]
fn a_message_whose_handler_traps_is_passed_over() {
    let events = begun(4).into_iter().chain([taken(2, C, 1)]).chain(handled([0, 1]));
    let events = events.chain([ends(2, C, 5, true), from(2, C, 1, 1, false)]);
    assert_eq!(verdict(events.clone().chain(handled([0, 2]))), None);
    expect_wrong(events.chain(handled([0, 3])), "#2 comes before");
}

#[test]
fn nothing_leaves_before_a_commit_covers_it() {
    let events = begun(1).into_iter().chain([taken(1, P, 1), publishes(1, P, 1, 101)]);
    let unseen = events.clone().chain(handled([0])).chain([from(1, P, 1, 1, false)]);
    assert_eq!(verdict(unseen.chain([publishes(1, P, 1, 9), handles(2, C, 10, 1, 9)])), None);
    let seen = events.chain(handled([0, 1])).chain([from(1, P, 1, 1, false)]);
    expect_wrong(seen, "was handled and is no more");
}

#[test]
fn a_move_goes_on_exactly() {
    let events = begun(3).into_iter().chain(handled([0, 1])).chain([taken(2, C, 1), down(2, C)]);
    let (c, moved) = ((20, 2), from(3, (20, 2), 1, 1, true));
    let on = |seq| handles(3, c, 10, seq, 100 + seq);
    assert_eq!(verdict(events.clone().chain([moved.clone(), on(2)])), None);
    expect_wrong(events.chain([moved, on(1)]), "handled again");
}

#[test]
fn failover_begins_a_new_line_and_its_old_copy_is_harmless() {
    let lost = begun(3).into_iter().chain(handled([0, 1])).chain([fresh(4, (10, 2))]);
    let new = |seq| publishes(4, (10, 2), seq, 500 + seq);
    let lost = lost.chain([new(1_000), new(1_001)]);
    let goes_on = lost.chain([handles(2, C, 10, 1_000, 1_500)]);
    assert_eq!(verdict(goes_on.clone()), None);
    // The old copy publishes as before, and somebody takes it.
    let stale = goes_on.chain([publishes(1, P, 3, 103), handles(2, C, 10, 3, 103)]);
    expect_wrong(stale, "not of an older line");
}

#[test]
fn lines_are_in_the_order_of_their_epochs() {
    // A node that hears late begins in an epoch when its next one has begun elsewhere.
    let late = begun(3).into_iter().chain(handled([0, 1])).chain([fresh(4, (10, 3))]);
    let late = late.chain([down(1, P), fresh(1, (10, 2)), publishes(1, (10, 2), 1_000, 1_500)]);
    let late = late.chain([publishes(4, (10, 3), 2_000, 2_500)]);
    let (stale, new) = (handles(2, C, 10, 1_000, 1_500), handles(2, C, 10, 2_000, 2_500));
    assert_eq!(verdict(late.clone().chain([stale.clone(), new.clone()])), None);
    expect_wrong(late.chain([new, stale]), "not of an older line");
}

#[test]
fn lines_that_are_forgotten_are_not_checked() {
    let many = (1..=10).flat_map(|epoch| {
        let (host, of, seq) = (epoch as Host, (10, epoch), u64::from(epoch) * 1_000);
        [fresh(host, of), publishes(host, of, seq, seq)]
    });
    let many = [fresh(20, C)].into_iter().chain(many);
    let handles = |seq, print| handles(20, C, 10, seq, print);
    // The first two are forgotten, also if they go on.
    let old = many.clone().chain([publishes(2, (10, 2), 2_001, 2_001), handles(1_000, 1_000)]);
    assert_eq!(verdict(old.chain([handles(3_000, 3_000), handles(10_000, 10_000)])), None);
    expect_wrong(many.chain([handles(3_000, 3_000), handles(4_000, 4)]), "not what was published");
}

#[test]
fn a_stale_copy_goes_on_with_its_own_numbers() {
    // Its node loses power, it is started elsewhere, and its node comes back.
    let lost = begun(3).into_iter().chain(handled([0])).chain([Event::Crashed { host: 1 }]);
    let lost = lost.chain([fresh(4, (10, 2)), publishes(4, (10, 2), 1_000, 1_500)]);
    let crashed = begun(0).into_iter().chain([taken(1, P, 1)]).chain(lost.clone().skip(2));
    let back = [fresh(1, P), from(1, P, 1, 1, false)];
    for (events, back) in [(lost.collect::<Vec<_>>(), &back[..1]), (crashed.collect(), &back[1..])]
    {
        let unseen = events
            .into_iter()
            .filter(|event| !matches!(event, Event::Node { trace: Trace::Begins { .. }, .. }));
        let goes_on = [publishes(1, P, 0, 7), publishes(4, (10, 2), 1_001, 1_501)];
        let taken = [handles(2, C, 10, 1_000, 1_500), handles(2, C, 10, 1_001, 1_501)];
        let events = unseen.chain(back.iter().cloned()).chain(goes_on).chain(taken);
        assert_eq!(verdict(events), None);
    }
}

#[test]
fn wires_that_may_drop_may_drop() {
    let dropping = |seq| publishes_as(1, P, Ok(Seq(seq)), 100 + seq, Promise::EveryThatFits);
    let events = [fresh(1, P), fresh(2, C)].into_iter().chain((0..4).map(dropping));
    assert_eq!(verdict(events.chain(handled([0, 3]))), None);
    let full = publishes_as(1, P, Err(PublishError::Full), 0, Promise::Every);
    expect_wrong([fresh(1, P), full], "not taken");
}

#[test]
fn at_rest_everything_has_arrived() {
    let mesh = Still::planned(&[(10, 1, 1), (20, 1, 2)]);
    for (count, is_right) in [(5, true), (4, false)] {
        let mut delivery = Delivery::default();
        let events: Vec<_> = begun(5).into_iter().chain(handled(0..count)).collect();
        show(&mut delivery, &events).unwrap();
        delivery.at_rest(Instant::from_secs(20), &mesh).unwrap();
        assert_eq!(delivery.at_rest(Instant::from_secs(200), &mesh).is_ok(), is_right);
    }
}

#[test]
fn what_a_producer_had_before_it_began_anew_is_not_owed() {
    let wrong_at_rest = |begins_anew: bool, epoch: u32| {
        let mut delivery = Delivery::default();
        let events = begun(5).into_iter().chain(handled(0..4));
        let anew = begins_anew.then(|| fresh(1, (10, epoch)));
        show(&mut delivery, &events.chain(anew).collect::<Vec<_>>()).unwrap();
        let mesh = Still::planned(&[(10, epoch, 1), (20, 1, 2)]);
        delivery.at_rest(Instant::from_secs(200), &mesh).is_err()
    };
    assert!(wrong_at_rest(false, 1));
    assert!(!wrong_at_rest(true, 2));
}

#[test]
fn a_number_that_is_given_to_another_instance_begins_anew() {
    let gone = owned(10, 10, None);
    let events = begun(3).into_iter().chain(handled(0..3)).chain([down(1, P), gone, fresh(4, P)]);
    let again = (0..3).map(|seq| publishes(4, P, seq, 100 + seq));
    assert_eq!(verdict(events.chain(again).chain(handled(0..3))), None);
}

#[test]
fn a_copy_that_is_nobodys_owes_nothing_to_the_next() {
    let gone = owned(20, 20, None);
    let events = begun(3).into_iter().chain(handled([0])).chain([gone]).chain(handled([1, 2]));
    let next = [down(2, C), fresh(2, (20, 2)), handles(2, (20, 2), 10, 1, 101)];
    assert_eq!(verdict(events.chain(next)), None);
}

/// The broker is given number `n` as message `seq`.
fn given(seq: u64, n: u64) -> Event {
    let topic = "capmesh/site/node/n1/p--i10/out".into();
    let payload = format!("{{\"n\":{n},\"seq\":{seq},\"epoch\":1}}").into_bytes().into();
    Event::Mqtt { topic, payload, retain: false, durable: true }
}

/// What is found wrong when the producer has published 300, 301, ... and the broker was given these.
fn shown(given: &[Event]) -> Option<String> {
    let mesh = Still::planned(&[(10, 1, 1)]);
    let mut delivery = Delivery::default();
    let payload = |n: u64| [0x81, 0x19, 0x01, (n - 256) as u8];
    let published = |seq| publishes(1, P, seq, capmesh_node::trace::print(&payload(300 + seq)));
    let begun = [owned(10, 10, Some(1)), fresh(1, P)];
    let events: Vec<_> = begun.into_iter().chain((0..3).map(published)).collect();
    let at = Instant::from_secs(10);
    let verdict = show(&mut delivery, &events)
        .and_then(|()| given.iter().try_for_each(|event| delivery.see(at, event)))
        .and_then(|()| delivery.at_rest(Instant::from_secs(200), &mesh));
    verdict.err().map(|wrong| wrong.to_string())
}

#[test]
fn the_broker_is_given_everything_once_and_in_order() {
    assert_eq!(shown(&[given(0, 300), given(1, 301), given(2, 302)]), None);
    let wrong = |events: &[Event], what: &str| {
        let said = shown(events).expect("it is noticed");
        assert!(said.starts_with("mqtt") && said.contains(what), "{said}");
    };
    wrong(&[given(0, 300), given(1, 301)], "#2 was not given");
    wrong(&[given(0, 300), given(0, 300)], "again");
    wrong(&[given(0, 300), given(2, 302)], "#1 comes before");
    wrong(&[given(0, 300), given(1, 302)], "not published so");
}

#[test]
fn a_gateway_that_was_killed_goes_on_where_it_was() {
    let killed = Event::Crashed { host: GATEWAY };
    let before = [given(0, 300), given(1, 301), killed];
    assert_eq!(shown(&[before.as_slice(), &[given(2, 302)]].concat()), None);
    let again = shown(&[before.as_slice(), &[given(1, 301)]].concat()).expect("it is noticed");
    assert!(again.contains("10/0#1, again"), "{again}");
}

#[test]
fn another_instance_of_the_same_name_begins_anew() {
    let mut delivery = Delivery::default();
    let print = |seq: u64| capmesh_node::trace::print(&[0x81, 0x19, 0x01, 44 + seq as u8]);
    let published = |of| move |seq| publishes(1, (of, 1), seq, print(seq));
    let mut events = vec![owned(10, 10, Some(1)), fresh(1, (10, 1))];
    events.extend((0..3).map(published(10)));
    events.push(given(0, 300));
    // It is gone, what it has published is still on its way, and the next one publishes the same. Nobody
    // looks at the mesh as long as that is there.
    events.extend([owned(10, 10, None), down(1, P), owned(11, 10, Some(1)), fresh(1, (11, 1))]);
    events.extend((0..3).map(published(11)));
    events.extend([given(1, 301), given(2, 302), given(0, 300)]);
    events.extend([owned(11, 10, None), down(1, (11, 1)), given(1, 301)]);
    show(&mut delivery, &events).unwrap();
    let wrong = delivery.see(Instant::from_secs(20), &given(1, 301)).unwrap_err();
    assert!(
        wrong.seen.contains("11/0#1, again") || wrong.seen.contains("10/0#1, again"),
        "{wrong}"
    );
}

#[test]
fn at_rest_the_broker_says_who_is_there() {
    for (status, is_off, is_right) in [
        ("online", false, true),
        ("offline", false, false),
        ("online", true, false),
        ("", true, true),
    ] {
        let mut mesh = Still::planned(&[(10, 1, 1)]);
        mesh.off.extend(is_off.then_some(1));
        let payload = status.as_bytes().to_vec().into();
        let topic = "capmesh/site/node/n1/status".into();
        let event = Event::Mqtt { topic, payload, retain: true, durable: false };
        let mut delivery = Delivery::default();
        delivery.see(Instant::ZERO, &event).unwrap();
        assert_eq!(delivery.at_rest(Instant::ZERO, &mesh).is_ok(), is_right, "{status}");
    }
}
