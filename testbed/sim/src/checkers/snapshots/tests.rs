use super::super::testing::{fresh, from, kept, show, taken};
use super::*;
use crate::checkers::testing::{CAPSULE, node};

const I: (u32, u32) = (7, 1);

fn verdict(events: &[Event]) -> Option<String> {
    show(&mut Snapshots::default(), events).err().map(|wrong| wrong.to_string())
}

#[test]
fn the_last_durable_state_or_a_newer_one_is_fine() {
    let events = [fresh(1, I), taken(1, I, 1), kept(1, I), taken(1, I, 2), from(1, I, 1, 1, false)];
    assert_eq!(verdict(&events), None);
    let newer = [fresh(1, I), taken(1, I, 1), kept(1, I), taken(1, I, 2), from(1, I, 2, 1, false)];
    assert_eq!(verdict(&newer), None);
    let elsewhere = [taken(1, I, 1), kept(1, I), from(2, (7, 2), 1, 1, true)];
    assert_eq!(verdict(&elsewhere), None);
}

#[test]
fn an_older_one_is_not() {
    let mut events = vec![fresh(1, I), taken(1, I, 1), kept(1, I), taken(1, I, 2), kept(1, I)];
    events.push(from(1, I, 1, 1, false));
    assert!(verdict(&events).unwrap().contains("an old state"));
}

#[test]
fn none_is_not_if_there_was_one() {
    let events = [fresh(1, I), fresh(1, I), taken(1, I, 1), kept(1, I), fresh(1, I)];
    assert!(verdict(&events).unwrap().contains("afresh"));
}

#[test]
fn one_that_was_never_taken_is_not() {
    assert!(verdict(&[taken(1, I, 1), from(1, I, 2, 1, false)]).unwrap().contains("never taken"));
}

#[test]
fn one_that_comes_out_otherwise_is_not() {
    let (instance, epoch) = (capmesh_wire::InstanceId(7), Epoch(1));
    let from =
        Restored { epoch, capsule: CAPSULE, print: 1, memory: 1_001, now: Some(5), is_last: false };
    let (capsule, fuel, from) = (CAPSULE, 1, Some(from));
    let up = Trace::Up { instance, epoch, capsule, runs: true, leased: false, fuel, from };
    assert!(verdict(&[taken(1, I, 1), node(1, up)]).unwrap().contains("another"));
}
