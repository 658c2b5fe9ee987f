//! The bounds of requests, with their reasons.

use capmesh_wire::limits;

/// Bytes of a request as JSON: a pipeline's text with every byte of it escaped as two, and the rest.
pub const REQUEST: usize = 2 * PIPELINE_TEXT + 4_096;

/// Bytes of a pipeline's text: [`limits::ASSIGNMENTS`] capsules at a kilobyte each.
pub const PIPELINE_TEXT: usize = 64 << 10;

const _: () = assert!(PIPELINE_TEXT >= limits::ASSIGNMENTS * 1_024);

/// Bytes of the name of a file, which is only repeated to people: what file systems allow.
pub const FILE: usize = 255;

/// Labels of a node.
pub const LABELS: usize = 16;

/// Lines of the log in one answer.
pub const LOG_LINES: u16 = 1_000;

/// Mistakes that one refusal lists: more than anybody corrects at a time.
pub const MISTAKES: usize = 32;

/// Causes that one refusal lists.
pub const CAUSES: usize = 16;
