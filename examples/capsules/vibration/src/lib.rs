//! The strongest vibration in each window of 64 samples, by a fast Fourier transform.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::{cos, sin, sqrt};
use capmesh_sdk::prelude::*;
use core::f64::consts::TAU;

capmesh_sdk::describe!();

/// Samples of a window: a power of two.
const N: usize = 64;

/// The window so far, and room for the transform. Both are zero after it, so that a snapshot holds
/// no more than the samples of a window that has begun.
pub struct Vibration {
    real: [f32; N],
    imaginary: [f32; N],
    count: u8,
}

#[capsule]
impl Vibration {
    const fn new() -> Self {
        Self { real: [0.0; N], imaginary: [0.0; N], count: 0 }
    }

    #[on(acceleration)]
    fn sample(&mut self, sample: Acceleration) -> Result<(), Errno> {
        if let Some(place) = self.real.get_mut(usize::from(self.count)) {
            *place = sample.value;
        }
        self.count += 1;
        if usize::from(self.count) < N {
            return Ok(());
        }
        self.shape();
        self.transform();
        let peak = self.peak(config::RATE.get());
        *self = Self::new();
        outputs::PEAK.publish(&peak)
    }

    /// Takes gravity out, and fades the window in and out as von Hann does: what does not end where it
    /// began would otherwise smear over all frequencies.
    fn shape(&mut self) {
        let mean = self.real.iter().sum::<f32>() / N as f32;
        for (i, sample) in self.real.iter_mut().enumerate() {
            let fade = 0.5 - 0.5 * cos(TAU * i as f64 / N as f64) as f32;
            *sample = (*sample - mean) * fade;
        }
    }

    /// The fast Fourier transform of Cooley and Tukey (1965), in place.
    fn transform(&mut self) {
        for i in 0..N {
            let j = (i.reverse_bits() >> (usize::BITS - N.trailing_zeros())) % N;
            if i < j {
                self.real.swap(i, j);
            }
        }
        let mut half = 1;
        while half < N {
            let angle = -TAU / (2 * half) as f64;
            for k in 0..half {
                let (c, s) = (cos(angle * k as f64) as f32, sin(angle * k as f64) as f32);
                let mut i = k;
                while i + half < N {
                    self.butterfly(i, i + half, c, s);
                    i += 2 * half;
                }
            }
            half *= 2;
        }
    }

    fn butterfly(&mut self, i: usize, j: usize, c: f32, s: f32) {
        let (i, j) = (i % N, j % N);
        let real = self.real[j] * c - self.imaginary[j] * s;
        let imaginary = self.real[j] * s + self.imaginary[j] * c;
        self.real[j] = self.real[i] - real;
        self.imaginary[j] = self.imaginary[i] - imaginary;
        self.real[i] += real;
        self.imaginary[i] += imaginary;
    }

    fn magnitude(&self, bin: usize) -> f64 {
        let (real, imaginary) = (f64::from(self.real[bin % N]), f64::from(self.imaginary[bin % N]));
        sqrt(real * real + imaginary * imaginary)
    }

    /// The strongest frequency. It lies between two of the transform's: by how much follows from their
    /// magnitudes, for von Hann's window exactly.
    fn peak(&self, rate: f32) -> Peak {
        let (mut bin, mut strongest) = (1, 0.0);
        for candidate in 1..N / 2 {
            let magnitude = self.magnitude(candidate);
            if magnitude > strongest {
                (bin, strongest) = (candidate, magnitude);
            }
        }
        let (below, above) = (self.magnitude(bin - 1), self.magnitude(bin + 1));
        let (neighbour, sign) = if above > below { (above, 1.0) } else { (below, -1.0) };
        let offset = if strongest > 0.0 {
            sign * (2.0 * neighbour - strongest) / (neighbour + strongest)
        } else {
            0.0
        };
        Peak {
            frequency: ((bin as f64 + offset) * f64::from(rate) / N as f64) as f32,
            // Half of a wave's strength is in the negative frequencies, and half of that in the window.
            amplitude: (strongest * 4.0 / N as f64) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    /// A wave on top of gravity.
    fn wave(frequency: f64, amplitude: f64) -> impl Iterator<Item = Acceleration> {
        (0..64).map(move |i| {
            let phase = std::f64::consts::TAU * frequency * f64::from(i) / 100.0 + 0.7;
            Acceleration { value: (9.81 + amplitude * phase.sin()) as f32 }
        })
    }

    fn peaks(samples: impl Iterator<Item = Acceleration>) -> Vec<Peak> {
        let mut node = Harness::<Vibration>::start();
        node.send_all(inputs::ACCELERATION, samples).published(outputs::PEAK)
    }

    #[test]
    fn a_wave_is_found_where_it_is() {
        for frequency in [6.25, 7.0, 12.5, 20.3, 33.3, 40.0] {
            let found = peaks(wave(frequency, 2.0));
            let [peak] = found.as_slice() else { panic!("one peak, not {found:?}") };
            assert!((f64::from(peak.frequency) - frequency).abs() < 0.05, "{frequency}: {peak:?}");
            // Between two frequencies of the transform a peak is up to 15 % lower (1.42 dB).
            assert!((1.69..=2.01).contains(&peak.amplitude), "{frequency}: {peak:?}");
        }
    }

    #[test]
    fn the_stronger_of_two_waves_wins() {
        let both = wave(10.0, 1.0).zip(wave(30.0, 3.0));
        let found = peaks(both.map(|(a, b)| Acceleration { value: a.value + b.value }));
        assert!((found[0].frequency - 30.0).abs() < 0.2, "{found:?}");
    }

    #[test]
    fn the_transform_is_that_of_the_definition() {
        let mut capsule = Vibration::new();
        for (i, place) in capsule.real.iter_mut().enumerate() {
            *place = ((i * i * 7 + 3 * i) % 23) as f32 - 11.0;
        }
        let samples = capsule.real;
        capsule.transform();
        for bin in 0..N {
            let (mut real, mut imaginary) = (0.0, 0.0);
            for (i, sample) in samples.iter().enumerate() {
                let angle = -std::f64::consts::TAU * (bin * i) as f64 / N as f64;
                real += f64::from(*sample) * angle.cos();
                imaginary += f64::from(*sample) * angle.sin();
            }
            assert!((f64::from(capsule.real[bin]) - real).abs() < 1e-3, "{bin}");
            assert!((f64::from(capsule.imaginary[bin]) - imaginary).abs() < 1e-3, "{bin}");
        }
    }

    #[test]
    fn rest_has_no_peak_and_each_window_is_its_own() {
        let still = std::iter::repeat_n(Acceleration { value: 9.81 }, 128);
        let found = peaks(still.chain(wave(20.0, 1.0)));
        assert_eq!(found.len(), 3);
        assert!(found[0].amplitude < 1e-5 && found[1].amplitude < 1e-5, "{found:?}");
        assert!((found[2].frequency - 20.0).abs() < 0.05);
    }
}
