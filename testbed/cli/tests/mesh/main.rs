//! Two nodes and a controller, as processes that talk over UDP.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not recognised as tests"
)]

mod aiocoap;
mod controller;
mod machine;
mod pipeline;
mod registry;
mod skopeo;
mod up;
