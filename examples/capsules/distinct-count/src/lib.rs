//! How many different visitors there were, in 64 bytes, by HyperLogLog (Flajolet and others, 2007).
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::ln;
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// How many registers there are: a power of two. The standard error is 1.04 / sqrt(64) = 13 %.
const REGISTERS: usize = 64;

/// The longest run of zero bits that each register has seen. Of n random numbers, the longest run is
/// about log2 n.
pub struct DistinctCount {
    registers: [u8; REGISTERS],
}

#[capsule]
impl DistinctCount {
    const fn new() -> Self {
        Self { registers: [0; REGISTERS] }
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        timers::REPORT.after(Duration::from_secs(u64::from(config::PERIOD.get())))
    }

    #[on(visitor)]
    fn visitor(&mut self, visitor: Visitor) {
        let hash = hash(visitor.id.as_slice());
        let index = hash as usize % REGISTERS;
        // The other 58 bits; the one behind them ends every run.
        let run = (hash >> 6 | 1 << 58).trailing_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = run.max(*register);
        }
    }

    #[timer(report)]
    fn report(&mut self) -> Result<(), Errno> {
        let count = self.estimate() as u32;
        *self = Self::new();
        self.start()?;
        outputs::DISTINCT.publish(&Distinct { count })
    }

    fn estimate(&self) -> f64 {
        let registers = REGISTERS as f64;
        let (mut sum, mut empty) = (0.0, 0.0);
        for register in self.registers {
            // 2 to the power of minus the register.
            sum += f64::from_bits((1023 - u64::from(register)) << 52);
            empty += if register == 0 { 1.0 } else { 0.0 };
        }
        // The paper's constant for 64 registers.
        let raw = 0.709 * registers * registers / sum;
        // Few visitors are better counted by how many registers nobody has touched.
        let estimate = if raw <= 2.5 * registers && empty > 0.0 {
            registers * ln(registers / empty)
        } else {
            raw
        };
        estimate + 0.5
    }
}

/// FNV-1a with the last step of MurmurHash3, without which its low bits depend on each other.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    /// What is reported after these visitors, each seen three times.
    fn count(names: impl Iterator<Item = String> + Clone) -> u32 {
        let mut node = Harness::<DistinctCount>::start();
        for _ in 0..3 {
            for name in names.clone() {
                let id = Bytes::new(name.as_bytes()).expect("a short name");
                node.send(inputs::VISITOR, &Visitor { id });
            }
        }
        node.advance(Duration::from_secs(60)).published(outputs::DISTINCT)[0].count
    }

    #[test]
    fn counts_are_within_three_standard_errors() {
        assert_eq!(count(std::iter::empty()), 0);
        assert_eq!(count((0..1).map(|i| i.to_string())), 1);
        for exact in [5_u32, 20, 100, 500, 2_000, 20_000] {
            // Three sets of names for each number, so that no lucky set decides.
            for set in ["badge-", "tag", "x"] {
                let found = f64::from(count((0..exact).map(|i| format!("{set}{i}"))));
                let error = (found / f64::from(exact) - 1.0).abs();
                assert!(error < 3.0 * 0.13, "{found} instead of {exact}");
            }
        }
    }

    #[test]
    fn errors_do_not_lean_to_one_side() {
        let sets = 40;
        let sum: f64 = (0..sets)
            .map(|set| f64::from(count((0..1_000).map(|i| format!("{set}/{i}")))) / 1_000.0)
            .sum();
        // The mean of 40 estimates has an error of 13 % / sqrt(40) = 2 %.
        assert!((sum / f64::from(sets) - 1.0).abs() < 3.0 * 0.0206, "{}", sum / f64::from(sets));
    }

    #[test]
    fn each_period_starts_anew() {
        let mut node = Harness::<DistinctCount>::start();
        node.send(inputs::VISITOR, &Visitor { id: Bytes::new(b"a").expect("one byte") });
        let counts = node.advance(Duration::from_secs(180)).published(outputs::DISTINCT);
        assert_eq!(counts.iter().map(|report| report.count).collect::<Vec<_>>(), [1, 0, 0]);
    }
}
