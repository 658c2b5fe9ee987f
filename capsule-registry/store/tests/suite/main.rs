//! What is admitted, kept, collected and served.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod admission;
mod keeping;
mod properties;
mod site;
