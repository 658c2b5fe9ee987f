use super::super::testing::{down, fresh, from, leased, show, timer};
use super::*;

fn verdict(events: &[Event]) -> Option<String> {
    show(&mut Ownership::default(), events).err().map(|wrong| wrong.to_string())
}

#[test]
fn one_after_the_other_is_fine() {
    let moved = from(2, (7, 2), 1, 1, true);
    let events = [fresh(1, (7, 1)), timer(1, (7, 1)), moved, timer(2, (7, 2)), down(1, (7, 1))];
    assert_eq!(verdict(&events), None);
    let back = [leased(1, (7, 1)), timer(1, (7, 1)), leased(2, (7, 2)), timer(2, (7, 2))];
    assert_eq!(verdict(&back), None);
}

#[test]
fn two_of_one_epoch_are_not() {
    let said = verdict(&[fresh(1, (7, 1)), fresh(2, (7, 1))]).unwrap();
    assert!(said.contains("both run epoch 1") && said.contains("instance 7"), "{said}");
    let crashed = [fresh(1, (7, 1)), Event::Crashed { host: 1 }, fresh(2, (7, 1))];
    assert_eq!(verdict(&crashed), None);
}

#[test]
fn what_was_handed_over_does_not_go_on() {
    let moved = from(2, (7, 2), 1, 1, true);
    let events = [fresh(1, (7, 1)), moved, timer(2, (7, 2)), timer(1, (7, 1))];
    assert!(verdict(&events).unwrap().contains("it was handed over"));
}

#[test]
fn what_has_a_lease_never_runs_twice() {
    let events = [leased(1, (7, 1)), leased(2, (7, 2)), timer(2, (7, 2)), timer(1, (7, 1))];
    assert!(verdict(&events).unwrap().contains("it has a lease"));
}

#[test]
fn a_copy_of_a_lost_node_may_go_on() {
    let events = [fresh(1, (7, 1)), fresh(2, (7, 2)), timer(2, (7, 2)), timer(1, (7, 1))];
    assert_eq!(verdict(&events), None);
}

#[test]
fn a_copy_of_a_lost_node_may_go_on_while_its_successor_is_handed_on() {
    let moved = from(3, (7, 3), 2, 2, true);
    let lost = [fresh(1, (7, 1)), timer(1, (7, 1)), fresh(2, (7, 2)), timer(2, (7, 2))];
    let later = [moved, timer(3, (7, 3)), timer(1, (7, 1))];
    let events: Vec<Event> = lost.into_iter().chain(later).collect();
    assert_eq!(verdict(&events), None);
    let events: Vec<Event> = events.into_iter().chain([timer(2, (7, 2))]).collect();
    assert!(verdict(&events).unwrap().contains("it was handed over"));
}

#[test]
fn a_node_does_not_go_back() {
    let events = [fresh(1, (7, 2)), timer(1, (7, 2)), fresh(1, (7, 1)), timer(1, (7, 1))];
    assert!(verdict(&events).unwrap().contains("it has run 2"));
}
