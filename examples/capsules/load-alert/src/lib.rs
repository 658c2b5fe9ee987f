//! Raises an alert when a machine is too busy for a while, or behaves as never before.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Whether there is an alert, and what speaks for a change.
pub struct Rule {
    is_active: bool,
    /// Windows in a row that say the other thing.
    others: u8,
    /// What was told while running; negative if nothing was.
    limit: f32,
}

#[capsule]
impl Rule {
    const fn new() -> Self {
        Self { is_active: false, others: 0, limit: -1.0 }
    }

    #[on(summary)]
    fn summary(&mut self, summary: LoadSummary) -> Result<(), Errno> {
        let limit = if self.limit < 0.0 { config::LIMIT.get() } else { self.limit };
        if (summary.mean > limit) == self.is_active {
            self.others = 0;
            return Ok(());
        }
        self.others = self.others.saturating_add(1);
        if self.others < config::HOLD.get() {
            return Ok(());
        }
        self.others = 0;
        self.is_active = !self.is_active;
        let (active, value) = (self.is_active, summary.mean);
        outputs::RAISED.publish(&LoadAlert { active, value, unusual: false })
    }

    /// An anomaly is said at once, and changes nothing else.
    #[on(anomaly)]
    fn anomaly(&mut self, anomaly: LoadAnomaly) -> Result<(), Errno> {
        outputs::RAISED.publish(&LoadAlert { active: true, value: anomaly.value, unusual: true })
    }

    #[on(limit)]
    fn limit(&mut self, limit: Load) {
        self.limit = limit.value.max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn summary(mean: f32) -> LoadSummary {
        LoadSummary { count: 5, min: mean, max: mean, mean, deviation: 0.0 }
    }

    fn alert(active: bool, value: f32, unusual: bool) -> LoadAlert {
        LoadAlert { active, value, unusual }
    }

    #[test]
    fn three_windows_in_a_row_decide() {
        let mut node = Harness::<Rule>::start();
        let means = [0.95, 0.95, 0.5, 0.95, 0.96, 0.97, 0.98, 0.9, 0.8, 0.7, 0.6];
        let raised = node.send_all(inputs::SUMMARY, means.map(summary)).published(outputs::RAISED);
        assert_eq!(raised, [alert(true, 0.97, false), alert(false, 0.7, false)]);
    }

    #[test]
    fn an_anomaly_is_said_at_once() {
        let mut node = Harness::<Rule>::start();
        let anomaly = LoadAnomaly { value: 0.4, mean: 0.1, score: 6.0 };
        let raised = node.send(inputs::ANOMALY, &anomaly).published(outputs::RAISED);
        assert_eq!(raised, [alert(true, 0.4, true)]);
    }

    #[test]
    fn the_limit_can_be_changed() {
        let mut node = Harness::<Rule>::start();
        node.send(inputs::LIMIT, &Load { value: 0.2 });
        let raised = node.send_all(inputs::SUMMARY, [0.3; 3].map(summary));
        assert_eq!(raised.published(outputs::RAISED), [alert(true, 0.3, false)]);
    }
}
