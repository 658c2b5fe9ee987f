//! Single-precision floats: a spectrum and a filter.

use crate::{Scratch, next};

/// Points of the transform.
const POINTS: usize = 256;

/// A radix-2 FFT of 256 points of noise; the sum of the magnitudes' squares, as bits.
pub(crate) fn fft(scratch: &mut Scratch, round: u32) -> u32 {
    noise(&mut scratch.reals, round);
    scratch.imaginaries.fill(0.0);
    sines(&mut scratch.sines);
    reverse(&mut scratch.reals);
    let (re, im) = (&mut scratch.reals, &mut scratch.imaginaries);
    let mut half = 1;
    while half < POINTS {
        let stride = POINTS / (2 * half);
        for start in (0..POINTS).step_by(2 * half) {
            for i in 0..half {
                let (cos, sin) =
                    (scratch.sines[i * stride + POINTS / 4], -scratch.sines[i * stride]);
                let (a, b) = (start + i, start + i + half);
                let (x, y) = (re[b] * cos - im[b] * sin, re[b] * sin + im[b] * cos);
                (re[b], im[b]) = (re[a] - x, im[a] - y);
                (re[a], im[a]) = (re[a] + x, im[a] + y);
            }
        }
        half *= 2;
    }
    let power = re.iter().zip(im.iter()).fold(0.0, |sum, (re, im)| sum + (re * re + im * im));
    power.to_bits()
}

/// Sines of multiples of 2 pi / 256 by repeated rotation, as a program without a library would.
fn sines(table: &mut [f32; POINTS]) {
    let (cos, sin) = (0.999_698_8_f32, 0.024_541_229_f32);
    let (mut x, mut y) = (1.0_f32, 0.0_f32);
    for entry in table {
        *entry = y;
        (x, y) = (x * cos - y * sin, x * sin + y * cos);
    }
}

fn reverse(samples: &mut [f32; POINTS]) {
    for i in 0..POINTS {
        let j = usize::from((i as u8).reverse_bits());
        if i < j {
            samples.swap(i, j);
        }
    }
}

/// Four biquads in a row over 256 samples; the sum of the output, as bits.
pub(crate) fn biquad(scratch: &mut Scratch, round: u32) -> u32 {
    noise(&mut scratch.reals, round);
    // A low-pass at a tenth of the sample rate.
    let (b0, b1, b2, a1, a2) = (0.067_455_f32, 0.134_911, 0.067_455, -1.142_98, 0.412_802);
    for _ in 0..4 {
        let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
        for sample in &mut scratch.reals {
            let x = *sample;
            let y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
            (x2, x1, y2, y1) = (x1, x, y1, y);
            *sample = y;
        }
    }
    scratch.reals.iter().sum::<f32>().to_bits()
}

fn noise(samples: &mut [f32; POINTS], round: u32) {
    let mut seed = u64::from(round);
    for sample in samples {
        *sample = (next(&mut seed) >> 8) as f32 / 8_388_608.0 - 0.5;
    }
}
