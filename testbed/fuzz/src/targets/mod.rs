//! One module for each target; each has a function `run` that takes the input.

pub mod blob;
pub mod bundle;
pub mod capsule;
pub mod coap_message;
pub mod documents;
pub mod edhoc;
pub mod endpoint;
pub mod flash;
pub mod gateway_json;
pub mod link_format;
pub mod oscore;
pub mod pipeline;
pub mod router;
pub mod said;
pub mod server;
pub mod session;
pub mod wire;

/// Does one thing with an input.
pub type Target = fn(&[u8]);

/// Every target with its name, for running findings as tests.
pub const ALL: &[(&str, Target)] = &[
    ("blob", blob::run),
    ("bundle", bundle::run),
    ("capsule", capsule::run),
    ("coap_message", coap_message::run),
    ("documents", documents::run),
    ("edhoc", edhoc::run),
    ("endpoint", endpoint::run),
    ("flash", flash::run),
    ("gateway_json", gateway_json::run),
    ("link_format", link_format::run),
    ("oscore", oscore::run),
    ("pipeline", pipeline::run),
    ("router", router::run),
    ("said", said::run),
    ("server", server::run),
    ("session", session::run),
    ("wire", wire::run),
];
