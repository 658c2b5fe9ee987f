//! Capsules for tests, from text, packed and signed as a publisher would.

use crate::host::Script;
use crate::site::{Dice, PUBLISHER, key};
use capmesh_node::Config;
use capmesh_node::config::{Actuator as NodeActuator, Budget};
use capmesh_node::test_util::capsules::{self as common, IMPORTS};
pub use capmesh_node::test_util::capsules::{Packed, expected};
use capmesh_wire::Unit;

/// Publishes the numbers from 1 to `count`, one every `micros`.
#[must_use]
pub fn source(count: u32, micros: u32) -> Packed {
    pack("test/source", &common::source(count, micros.into()), &[], &["out"], &[])
}

/// Publishes the sum of what it has had.
#[must_use]
pub fn adder() -> Packed {
    pack("test/adder", &common::adder(""), &["in"], &["out"], &[])
}

/// Sets `count` to the number of messages it has had, and `hash` to what they and their order give.
#[must_use]
pub fn sink() -> Packed {
    pack("test/sink", &common::sink(), &["in"], &[], &["count", "hash"])
}

/// Sets `count` to the numbers from 1 on, one every `micros`.
#[must_use]
pub fn beacon(micros: u32) -> Packed {
    pack(
        "test/beacon",
        &format!(
            r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const {micros}))))
    (func (export "timer") (param i32)
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0)))))
        (drop (call $set_timer (i32.const 0) (i64.const {micros})))))"#
        ),
        &[],
        &[],
        &["count"],
    )
}

/// Does nothing, and is so many bytes long, of which none follow from others.
#[must_use]
pub fn ballast(bytes: u32) -> Packed {
    let mut dice = Dice(bytes.into());
    // The rest of the module.
    let bytes = bytes - 320;
    let padding: String = (0..bytes).map(|_| format!("\\{:02x}", dice.below(256))).collect();
    pack(
        "test/ballast",
        &format!(
            r#"(module {IMPORTS}
    (func (export "timer") (param i32))
    (@custom "ballast" (after last) "{padding}"))"#
        ),
        &[],
        &[],
        &[],
    )
}

/// Packs and signs a capsule.
fn pack(name: &str, text: &str, inputs: &[&str], outputs: &[&str], actuators: &[&str]) -> Packed {
    pack_version(name, 1, text, inputs, outputs, actuators)
}

/// Packs and signs a version of a capsule, which is newer the larger it is.
pub(crate) fn pack_version(
    name: &str,
    version: u16,
    text: &str,
    inputs: &[&str],
    outputs: &[&str],
    actuators: &[&str],
) -> Packed {
    let module = if Script::is_one(text.as_bytes()) {
        text.as_bytes().to_vec()
    } else {
        wat::parse_str(text).expect("valid text")
    };
    common::pack(name, version, module, [inputs, outputs, actuators], &key(PUBLISHER), |all| all)
}

/// A node that has what the capsules here want.
#[must_use]
pub fn config() -> Config {
    let actuator = |name: &str| NodeActuator { name: name.into(), unit: Unit::None };
    Config {
        actuators: vec![actuator("count"), actuator("hash")],
        budget: Budget { instances: 8, ..Config::default().budget },
        ..Config::default()
    }
}
