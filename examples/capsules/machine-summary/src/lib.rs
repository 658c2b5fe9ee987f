//! How a machine is, in one message: the last means of its loads.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::period;

capmesh_sdk::describe!();

/// The last mean of each load since the last message.
pub struct MachineSummary {
    last: Machine,
}

const NOTHING: Machine = Machine { cpu: None, memory: None, disk: None, network: None };

#[capsule]
impl MachineSummary {
    const fn new() -> Self {
        Self { last: NOTHING }
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        timers::REPORT.after(period(config::PERIOD.get()))
    }

    #[on(cpu)]
    fn cpu(&mut self, summary: LoadSummary) {
        self.last.cpu = Some(summary.mean);
    }

    #[on(memory)]
    fn memory(&mut self, summary: LoadSummary) {
        self.last.memory = Some(summary.mean);
    }

    #[on(disk)]
    fn disk(&mut self, summary: LoadSummary) {
        self.last.disk = Some(summary.mean);
    }

    #[on(network)]
    fn network(&mut self, summary: LoadSummary) {
        self.last.network = Some(summary.mean);
    }

    /// What has not come since the last message is left out, so that silence shows.
    #[timer(report)]
    fn report(&mut self) -> Result<(), Errno> {
        self.start()?;
        let last = core::mem::replace(&mut self.last, NOTHING);
        outputs::MACHINE.publish(&last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn summary(mean: f32) -> LoadSummary {
        LoadSummary { count: 5, min: 0.0, max: 1.0, mean, deviation: 0.1 }
    }

    #[test]
    fn the_last_means_are_joined_and_silence_shows() {
        let mut node = Harness::<MachineSummary>::start();
        node.send(inputs::CPU, &summary(0.1));
        node.send(inputs::CPU, &summary(0.2));
        node.send(inputs::MEMORY, &summary(0.5));
        let period = Duration::from_secs(10);
        let first = node.advance(period).published(outputs::MACHINE);
        assert_eq!(first, [Machine { cpu: Some(0.2), memory: Some(0.5), ..NOTHING }]);
        node.send(inputs::DISK, &summary(0.75));
        node.send(inputs::NETWORK, &summary(0.0));
        let second = node.advance(period).published(outputs::MACHINE);
        assert_eq!(second, [Machine { disk: Some(0.75), network: Some(0.0), ..NOTHING }]);
    }
}
