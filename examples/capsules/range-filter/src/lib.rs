//! Lets readings pass that can be true, and counts those that cannot.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// How many readings went either way.
pub struct RangeFilter {
    passed: u32,
    rejected: u32,
}

#[capsule]
impl RangeFilter {
    const fn new() -> Self {
        Self { passed: 0, rejected: 0 }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        // What is not a number is in no range.
        if (config::MIN.get()..=config::MAX.get()).contains(&reading.value) {
            self.passed = self.passed.saturating_add(1);
            return outputs::VALID.publish(&reading);
        }
        self.rejected = self.rejected.saturating_add(1);
        Ok(())
    }

    #[request(tally)]
    fn tally(&mut self, request: Request<()>) -> Result<Tally, Status> {
        match request.method {
            Method::Get => Ok(Tally { passed: self.passed, rejected: self.rejected }),
            _ => Err(Status::METHOD_NOT_ALLOWED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::{Answer, Harness};

    #[test]
    fn the_bounds_pass_and_what_is_beyond_does_not() {
        let mut node = Harness::<RangeFilter>::start();
        let values = [-40.0, -40.001, 0.0, 85.0, 85.01, f32::NAN, f32::INFINITY, 20.5];
        let effects = node.send_all(inputs::READING, values.map(|value| Temperature { value }));
        let passed: Vec<f32> = effects.published(outputs::VALID).iter().map(|t| t.value).collect();
        assert_eq!(passed, [-40.0, 0.0, 85.0, 20.5]);
        let (answer, _) = node.ask(services::TALLY, Method::Get, None);
        let tally = Tally { passed: 4, rejected: 4 };
        assert_eq!(answer, Some(Answer { status: Status::CONTENT, body: Some(tally) }));
        let (answer, _) = node.ask(services::TALLY, Method::Delete, None);
        assert_eq!(answer.map(|answer| answer.status), Some(Status::METHOD_NOT_ALLOWED));
    }
}
