//! Whole meshes of real processes that talk over UDP.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are not recognised as tests"
)]

mod aiocoap;
mod broker;
mod command;
mod controller;
mod machine;
mod pipeline;
mod process;
mod recovery;
mod refusals;
mod registry;
mod skopeo;
mod town;
mod up;
mod wishes;
