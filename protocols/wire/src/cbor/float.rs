//! The shortest float that keeps a value (RFC 8949 section 4.2.1 and appendix D).

/// A float as it stands in an encoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shortest {
    Half(u16),
    Single(f32),
    Double(f64),
}

/// The one NaN that is written and accepted: quiet, no sign, no payload.
const NAN: u16 = 0x7e00;

impl Shortest {
    pub(super) fn of(value: f64) -> Self {
        if value.is_nan() {
            return Self::Half(NAN);
        }
        #[expect(clippy::cast_possible_truncation, reason = "whether it loses anything is checked")]
        let single = value as f32;
        if f64::from(single).to_bits() != value.to_bits() {
            return Self::Double(value);
        }
        half_from_single(single).map_or(Self::Single(single), Self::Half)
    }
}

/// The value of a half-precision float.
pub(super) fn single_from_half(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 0x1f);
    let fraction = u32::from(half & 0x3ff);
    let magnitude = match (exponent, fraction) {
        (0, 0) => 0,
        // A subnormal is normal as a single: shift the leading one to where it is implied.
        (0, _) => {
            let shift = fraction.leading_zeros() - 21;
            (113 - shift) << 23 | (fraction << shift & 0x3ff) << 13
        }
        (0x1f, _) => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The half-precision float of the same value, if there is one. `value` is not NaN.
fn half_from_single(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = bits >> 16 & 0x8000;
    let exponent = bits >> 23 & 0xff;
    let fraction = bits & 0x7f_ffff;
    let magnitude = match (exponent, fraction) {
        (0, 0) => 0,
        (0xff, 0) => 0x7c00,
        (113..=142, _) if fraction & 0x1fff == 0 => (exponent - 112) << 10 | fraction >> 13,
        (103..=112, _) => {
            let shift = 126 - exponent;
            let whole = fraction | 0x80_0000;
            if whole & ((1 << shift) - 1) != 0 {
                return None;
            }
            whole >> shift
        }
        _ => return None,
    };
    u16::try_from(sign | magnitude).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_there_and_back() {
        for half in 0..=u16::MAX {
            let value = single_from_half(half);
            if value.is_nan() {
                assert_eq!(half & 0x7c00, 0x7c00);
                assert_eq!(Shortest::of(f64::from(value)), Shortest::Half(NAN));
            } else {
                assert_eq!(Shortest::of(f64::from(value)), Shortest::Half(half), "{half:#06x}");
            }
        }
    }

    #[test]
    fn values_of_rfc_8949_appendix_a() {
        for (value, shortest) in [
            (0.0, Shortest::Half(0x0000)),
            (-0.0, Shortest::Half(0x8000)),
            (1.0, Shortest::Half(0x3c00)),
            (1.1, Shortest::Double(1.1)),
            (1.5, Shortest::Half(0x3e00)),
            (65504.0, Shortest::Half(0x7bff)),
            (100_000.0, Shortest::Single(100_000.0)),
            (3.402_823_466_385_288_6e38, Shortest::Single(f32::MAX)),
            (1.0e300, Shortest::Double(1.0e300)),
            (5.960_464_477_539_063e-8, Shortest::Half(0x0001)),
            (0.000_061_035_156_25, Shortest::Half(0x0400)),
            (-4.0, Shortest::Half(0xc400)),
            (-4.1, Shortest::Double(-4.1)),
            (f64::INFINITY, Shortest::Half(0x7c00)),
            (f64::NEG_INFINITY, Shortest::Half(0xfc00)),
        ] {
            assert_eq!(Shortest::of(value), shortest, "{value}");
        }
    }

    #[test]
    fn neighbours_of_what_a_half_can_say_stay_single() {
        for value in [
            65505.0,
            65520.0,
            65536.0,
            2.0_f64.powi(-25),
            3.0 * 2.0_f64.powi(-25),
            1.000_488_281_25,
        ] {
            assert!(matches!(Shortest::of(value), Shortest::Single(_)), "{value}");
        }
    }
}
