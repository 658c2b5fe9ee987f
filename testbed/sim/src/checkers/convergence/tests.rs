use super::super::testing::Still;
use super::*;

#[test]
fn it_may_take_so_long_and_no_longer() {
    let right = Still::planned(&[(7, 1, 1)]);
    let mut wrong = right.clone();
    wrong.plan.clear();
    for (mesh, is_right) in [(&right, true), (&wrong, false)] {
        let mut convergence = Convergence::default();
        let healed = Instant::from_secs(100);
        convergence.look(healed, &wrong).unwrap();
        convergence.see(healed, &Event::Healed { without: Vec::new().into() }).unwrap();
        convergence.look(healed + WITHIN, &wrong).unwrap();
        let late = healed + WITHIN + Duration::from_secs(1);
        assert_eq!(convergence.look(late, mesh).is_ok(), is_right);
        assert_eq!(convergence.took().len(), usize::from(is_right));
    }
}

#[test]
fn what_the_script_does_ends_that() {
    let mut wrong = Still::planned(&[(7, 1, 1)]);
    wrong.plan.clear();
    let mut convergence = Convergence::default();
    convergence.see(Instant::ZERO, &Event::Healed { without: Vec::new().into() }).unwrap();
    convergence.see(Instant::ZERO, &Event::Done { what: "it".into() }).unwrap();
    convergence.look(Instant::from_secs(10_000), &wrong).unwrap();
}
