use super::super::testing::Still;
use super::*;
use capmesh_node::trace::Gauge;

#[test]
fn a_table_that_is_full_is_fine_and_one_that_is_fuller_is_not() {
    for (has, is_right) in [(10, true), (11, false)] {
        let gauges = vec![Gauge { name: "lines of the log", has, most: 10 }];
        let mesh = Still { gauges, ..Still::planned(&[(7, 1, 1)]) };
        assert_eq!(Bounds.look(Instant::ZERO, &mesh).is_ok(), is_right);
    }
}
