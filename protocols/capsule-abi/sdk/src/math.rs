//! The few functions of real numbers that sensing needs and `core` lacks.
//!
//! Each is a few dozen instructions and gives the same bits on every machine. Errors are stated for
//! the whole range, and tests hold them.

/// The square root, to the last bit but one; NaN for what is below zero.
#[must_use]
pub fn sqrt(x: f64) -> f64 {
    if x <= 0.0 || !x.is_finite() {
        return if x < 0.0 { f64::NAN } else { x };
    }
    // Halving the exponent is within 4 % of the root, and Newton's steps square the error.
    let mut root = f64::from_bits((x.to_bits() >> 1) + (0x3ff << 51));
    let mut steps = 0;
    while steps < 5 {
        root = 0.5 * (root + x / root);
        steps += 1;
    }
    root
}

/// The sine of an angle in radians, within 1e-9 for angles up to 1e6.
#[must_use]
pub fn sin(x: f64) -> f64 {
    cos(x - core::f64::consts::FRAC_PI_2)
}

/// The cosine of an angle in radians, within 1e-9 for angles up to 1e6.
#[must_use]
pub fn cos(x: f64) -> f64 {
    use core::f64::consts::{FRAC_PI_2, PI, TAU};
    // To -pi..pi, and by symmetry to 0..pi/2.
    let turns = x * (1.0 / TAU);
    #[expect(clippy::cast_possible_truncation, reason = "larger angles have no phase to speak of")]
    let whole = (turns + if turns < 0.0 { -0.5 } else { 0.5 }) as i64;
    #[expect(clippy::cast_precision_loss, reason = "angles that are larger are not promised")]
    let angle = (x - whole as f64 * TAU).abs();
    let (angle, sign) = if angle > FRAC_PI_2 { (PI - angle, -1.0) } else { (angle, 1.0) };
    // Taylor's series to the 14th power: the next term is below 7e-11 at pi/2.
    let square = angle * angle;
    let mut sum = 1.0;
    let mut n = 14.0;
    while n > 0.0 {
        sum = 1.0 - square * sum / (n * (n - 1.0));
        n -= 2.0;
    }
    sign * sum
}

/// The natural logarithm, within 1e-9 (relative for large values); NaN for what is not above zero.
#[must_use]
pub fn ln(x: f64) -> f64 {
    if !(x > 0.0 && x.is_finite() && x.is_normal()) {
        return f64::NAN;
    }
    // x = m * 2^e with m between 0.70 and 1.41.
    let shifted = x.to_bits() + (0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd);
    let exponent = (shifted >> 52) as i32 - 0x3ff;
    let mantissa = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff) + 0x3fe6_a09e_667f_3bcd);
    // ln m = 2 artanh((m - 1) / (m + 1)), of which the argument is below 0.172.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut sum = 0.0;
    let mut n = 11.0;
    while n > 0.0 {
        sum = sum * square + 1.0 / n;
        n -= 2.0;
    }
    2.0 * ratio * sum + f64::from(exponent) * core::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values over many decades, from a linear congruential generator.
    fn spread(count: usize) -> impl Iterator<Item = f64> {
        let mut state = 1_u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let unit = (state >> 11) as f64 / (1_u64 << 53) as f64;
            10_f64.powf(unit * 24.0 - 12.0)
        })
        .take(count)
    }

    #[test]
    fn roots_are_those_of_the_standard_library() {
        for x in spread(20_000).chain([1.0, 2.0, 4.0, 1e300, 1e-300]) {
            let expected = x.sqrt();
            assert!((sqrt(x) - expected).abs() <= expected * 2.0 * f64::EPSILON, "{x}");
        }
        assert_eq!(sqrt(0.0), 0.0);
        assert!(sqrt(-1.0).is_nan());
        assert_eq!(sqrt(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn sines_and_cosines_keep_their_bound() {
        for x in spread(20_000).filter(|x| *x < 1e6).flat_map(|x| [x, -x]) {
            assert!((cos(x) - x.cos()).abs() < 1e-9, "cos {x}");
            assert!((sin(x) - x.sin()).abs() < 1e-9, "sin {x}");
        }
    }

    #[test]
    fn logarithms_keep_their_bound() {
        for x in spread(20_000).chain([1.0, 0.5, 2.0, 1e300, 1e-300]) {
            let expected = x.ln();
            assert!((ln(x) - expected).abs() < 1e-9 * expected.abs().max(1.0), "{x}");
        }
        assert!(ln(0.0).is_nan() && ln(-1.0).is_nan());
    }
}
