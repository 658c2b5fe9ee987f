//! What a node and its capsules have to report, for people.

use crate::cbor::macros::{codes, tuple};
use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::limits;
use crate::text::Text;

tuple! {
    /// A line of a node's log.
    pub struct LogLine<'a> {
        /// Counts the lines since the node's start: a gap is what a full log has dropped.
        number: u32,
        /// When it was written.
        at: Timestamp,
        /// Who wrote it; absent if the node did.
        instance: Option<InstanceId>,
        /// How serious it is.
        level: Level,
        /// What it says.
        text: Text<'a, { limits::LOG_LINE }>,
    }
}

codes! {
    /// How serious a line of the log is. The numbers are those of the contract with capsules.
    pub enum Level {
        /// Something failed.
        Error = 0, "error";
        /// Something may go wrong.
        Warning = 1, "warning";
        /// Something happened.
        Info = 2, "info";
        /// For whoever looks for a fault.
        Debug = 3, "debug";
    }
}
