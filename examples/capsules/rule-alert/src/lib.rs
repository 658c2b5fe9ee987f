//! Raises an alert when readings pass a limit for a while, and switches a lamp.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// What the rule is and how far it is from being met.
pub struct RuleAlert {
    /// A limit that somebody has set since the pipeline was started.
    limit: Option<f32>,
    is_active: bool,
    /// How many readings in a row have spoken for a change.
    streak: u8,
}

#[capsule]
impl RuleAlert {
    const fn new() -> Self {
        Self { limit: None, is_active: false, streak: 0 }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let limit = self.current_limit();
        let speaks_for_change = if self.is_active {
            reading.value < limit - config::HYSTERESIS.get()
        } else {
            reading.value > limit
        };
        self.streak = if speaks_for_change { self.streak + 1 } else { 0 };
        if self.streak < config::HOLD.get().max(1) {
            return Ok(());
        }
        (self.is_active, self.streak) = (!self.is_active, 0);
        if self.is_active {
            log!(warning, "{reading.value:.1} is above {limit:.1}");
        }
        actuators::LAMP.set(if self.is_active { 1.0 } else { 0.0 })?;
        outputs::ALERT.publish(&Alert { active: self.is_active, value: reading.value })
    }

    /// Who presses the button has seen the lamp; the alert goes on.
    #[event(acknowledge)]
    fn acknowledge(&mut self, value: f64) -> Result<(), Errno> {
        if value > 0.0 { actuators::LAMP.set(0.0) } else { Ok(()) }
    }

    /// `GET` says the limit, `PUT` sets it, `DELETE` goes back to the pipeline's.
    #[request(limit)]
    fn limit(&mut self, request: Request<Limit>) -> Result<Limit, Status> {
        match (request.method, request.body) {
            (Method::Get, _) => {}
            (Method::Put, Some(limit)) if limit.value.is_finite() => self.limit = Some(limit.value),
            (Method::Put, _) => return Err(Status::BAD_REQUEST),
            (Method::Delete, _) => self.limit = None,
            _ => return Err(Status::METHOD_NOT_ALLOWED),
        }
        Ok(Limit { value: self.current_limit() })
    }

    fn current_limit(&self) -> f32 {
        self.limit.unwrap_or_else(|| config::LIMIT.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::{Effects, Harness};

    fn alerts(effects: &Effects) -> Vec<(bool, f32)> {
        effects.published(outputs::ALERT).iter().map(|alert| (alert.active, alert.value)).collect()
    }

    fn send(node: &mut Harness<RuleAlert>, values: &[f32]) -> Effects {
        node.send_all(inputs::READING, values.iter().map(|&value| Temperature { value }))
    }

    #[test]
    fn three_readings_in_a_row_decide() {
        let mut node = Harness::<RuleAlert>::start();
        let effects = send(&mut node, &[31.0, 31.0, 29.0, 31.0, 32.0]);
        assert!(effects.is_empty());
        let effects = send(&mut node, &[33.0]);
        assert_eq!(alerts(&effects), [(true, 33.0)]);
        assert_eq!(effects.actuated(actuators::LAMP), Some(1.0));
        assert_eq!(effects.logs(), ["33.0 is above 30.0"]);
        let effects = send(&mut node, &[29.5, 29.5, 29.5, 29.5, 28.9, 28.8, 28.7, 28.6]);
        assert_eq!(alerts(&effects), [(false, 28.7)], "it must cool down by a degree");
        assert_eq!(effects.actuated(actuators::LAMP), Some(0.0));
    }

    #[test]
    fn a_button_switches_the_lamp_off_and_leaves_the_alert() {
        let mut node = Harness::<RuleAlert>::start();
        send(&mut node, &[40.0, 40.0, 40.0]);
        assert!(node.event(sources::ACKNOWLEDGE, 0.0).is_empty());
        let effects = node.event(sources::ACKNOWLEDGE, 1.0);
        assert_eq!(effects.actuated(actuators::LAMP), Some(0.0));
        assert_eq!(alerts(&send(&mut node, &[20.0, 20.0, 20.0])), [(false, 20.0)]);
    }

    #[test]
    fn the_limit_can_be_read_set_and_reset() {
        let builder = Harness::<RuleAlert>::builder();
        let (mut node, _) = builder.config(config::LIMIT, 10.0).config(config::HOLD, 0).start();
        let mut ask = |method, body: Option<f32>| {
            let body = body.map(|value| Limit { value });
            let answer = node.ask(services::LIMIT, method, body.as_ref()).0.expect("an answer");
            (answer.status, answer.body.map(|limit| limit.value))
        };
        assert_eq!(ask(Method::Get, None), (Status::CONTENT, Some(10.0)));
        assert_eq!(ask(Method::Put, Some(5.0)), (Status::CHANGED, Some(5.0)));
        assert_eq!(ask(Method::Put, Some(f32::NAN)), (Status::BAD_REQUEST, None));
        assert_eq!(ask(Method::Put, None), (Status::BAD_REQUEST, None));
        assert_eq!(ask(Method::Get, None), (Status::CONTENT, Some(5.0)));
        assert_eq!(ask(Method::Delete, None), (Status::CHANGED, Some(10.0)));
        assert_eq!(ask(Method::Post, None), (Status::METHOD_NOT_ALLOWED, None));
        ask(Method::Put, Some(5.0));
        assert_eq!(alerts(&send(&mut node, &[7.0])), [(true, 7.0)]);
    }
}
