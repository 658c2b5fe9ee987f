//! The mean of the last readings.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// The most readings that a mean is of.
const MAX: usize = 16;

/// The last readings, the oldest of which is overwritten next.
pub struct MovingAverage {
    readings: [f32; MAX],
    next: u8,
    count: u8,
}

#[capsule]
impl MovingAverage {
    const fn new() -> Self {
        Self { readings: [0.0; MAX], next: 0, count: 0 }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let window = config::WINDOW.get().clamp(1, MAX as u8);
        if let Some(place) = self.readings.get_mut(usize::from(self.next)) {
            *place = reading.value;
        }
        self.next = (self.next + 1) % window;
        self.count = (self.count + 1).min(window);
        // A sum that is kept up would drift; this one is exact, and short.
        let sum: f32 = self.readings.iter().take(usize::from(self.count)).sum();
        outputs::MEAN.publish(&Temperature { value: sum / f32::from(self.count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn means(window: u8, readings: &[f32]) -> Vec<f32> {
        let builder = Harness::<MovingAverage>::builder().config(config::WINDOW, window);
        let (mut node, _) = builder.start();
        let readings = readings.iter().map(|&value| Temperature { value });
        let effects = node.send_all(inputs::READING, readings);
        effects.published(outputs::MEAN).iter().map(|mean| mean.value).collect()
    }

    #[test]
    fn it_is_the_mean_of_what_there_is_until_the_window_is_full() {
        assert_eq!(means(3, &[3.0, 6.0, 9.0, 12.0, 0.0]), [3.0, 4.5, 6.0, 9.0, 7.0]);
    }
}
