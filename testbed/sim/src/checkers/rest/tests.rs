use super::super::testing::Still;
use super::super::{Has, Life};
use super::*;

fn at_rest(change: impl FnOnce(&mut Still)) -> Verdict {
    let mut still = Still::planned(&[(7, 1, 1), (8, 3, 2)]);
    change(&mut still);
    Rest::default().at_rest(Instant::ZERO, &still)
}

fn first(still: &mut Still) -> &mut Has {
    still.nodes.get_mut(&1).unwrap().first_mut().unwrap()
}

#[test]
fn as_planned_is_fine() {
    at_rest(|_| {}).unwrap();
    at_rest(|still| first(still).life = Life::Fails).unwrap();
    // Nobody knows of a node that is off.
    at_rest(|still| still.off.push(2)).unwrap();
    // Nobody can tell one that was revoked to end what it runs.
    let ghost = |still: &mut Still| still.plan.retain(|row| row.host == 1);
    assert!(at_rest(ghost).is_err());
    at_rest(|still| {
        ghost(still);
        still.revoked.push(2);
    })
    .unwrap();
}

#[test]
fn anything_else_is_not() {
    assert!(at_rest(|still| first(still).epoch = 2).is_err());
    assert!(at_rest(|still| first(still).life = Life::Other).is_err());
    assert!(at_rest(|still| still.nodes.get_mut(&1).unwrap().clear()).is_err());
    assert!(at_rest(|still| still.plan.clear()).is_err());
}

#[test]
fn nodes_that_stay_lost_do_not_count() {
    let mut still = Still::planned(&[(7, 1, 1)]);
    first(&mut still).epoch = 2;
    let mut rest = Rest::default();
    rest.see(Instant::ZERO, &Event::Healed { without: vec![1].into() }).unwrap();
    rest.at_rest(Instant::ZERO, &still).unwrap();
}
