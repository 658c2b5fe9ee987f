use super::super::testing::{Still, ends, fresh, show};
use super::*;

fn mesh(gauges: &[(&'static str, u64, u64)]) -> Still {
    let mut still = Still::planned(&[(7, 1, 1)]);
    still.gauges =
        gauges.iter().map(|(name, has, most)| Gauge { name, has: *has, most: *most }).collect();
    still
}

#[test]
fn what_is_promised_is_within_the_budget() {
    let look = |gauges: &_| Budgets::default().look(Instant::ZERO, &mesh(gauges));
    look(&[("budget: bytes of RAM", 10, 10), ("lines of the log", 11, 10)]).unwrap();
    for name in ["budget: bytes of RAM", "inbox: bytes", "outbox: messages", "flash: records"] {
        let said = look(&[(name, 11, 10)]).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("at most 10"), "{said}");
    }
}

#[test]
fn a_handler_keeps_to_its_fuel() {
    let run = |used: &[u64]| {
        let ends = used.iter().map(|fuel| ends(1, (7, 1), *fuel, false));
        let events: Vec<_> = [fresh(1, (7, 1))].into_iter().chain(ends).collect();
        show(&mut Budgets::default(), &events)
    };
    // It is allowed 1,000; what is told is the sum.
    run(&[1_000, 2_000, 3_000]).unwrap();
    assert!(run(&[1_000, 2_001 + PAST]).is_err());
}

#[test]
fn a_node_keeps_to_its_fuel() {
    for (each, is_right) in [(1_000_u64, true), (90_000, false)] {
        let mut budgets = Budgets::default();
        let mesh = mesh(&[(FUEL, 5_000, 10_000)]);
        budgets.see(Instant::ZERO, &fresh(1, (7, 1))).unwrap();
        let mut verdict = Ok(());
        for second in 1..=2 * WINDOW {
            let at = Instant::from_secs(second);
            budgets.see(at, &ends(1, (7, 1), second * each, false)).unwrap();
            verdict = verdict.and(budgets.look(at, &mesh));
        }
        assert_eq!(verdict.is_ok(), is_right);
    }
}
