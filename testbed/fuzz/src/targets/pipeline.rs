//! What a person writes: a pipeline's text.
//!
//! Whatever comes is refused with places within it, or is a pipeline that means the same when its text is
//! read again, and whose names refer to something.

use capmesh_gateway::pipeline::{CAPSULES, Pipeline, WIRES};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let lines = text.split('\n').count();
    match Pipeline::parse("p", text) {
        Err(faults) => {
            assert!(!faults.as_slice().is_empty());
            for fault in faults.as_slice() {
                assert!((1..=lines).contains(&fault.line), "{fault}");
                assert!(fault.column >= 1 && fault.message.len() < 500, "{fault}");
            }
        }
        Ok(pipeline) => {
            assert_eq!(Pipeline::parse("p", &pipeline.text).as_ref(), Ok(&pipeline));
            assert!(pipeline.capsules.len() <= CAPSULES && pipeline.wires.len() <= WIRES);
            let ends = pipeline.wires.iter().flat_map(|wire| [&wire.from, &wire.to]);
            for end in ends {
                assert!(pipeline.capsule(&end.capsule).is_some());
                assert!(text.get(end.span.clone()).is_some_and(|text| text.contains('.')));
            }
        }
    }
}
