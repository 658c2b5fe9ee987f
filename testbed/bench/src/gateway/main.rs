//! Measures a gateway under load: nodes that send, an external broker, a subscriber that counts.
//!
//! ```sh
//! cargo run --release -p capmesh-bench --bin capmesh-bench-gateway
//! ```
//!
//! 1,000 nodes are played, each with a socket, an EDHOC handshake and an OSCORE session of its own, over
//! real UDP. Each has an `every` wire and a `latest` wire to the gateway. The gateway is a process with
//! the gateway's data path: its endpoint, the bridge of its core, and the storage and the MQTT client of
//! its daemon. Mosquitto runs beside it, and a client of it counts what arrives, looks whether anything is
//! missing or there twice, and how old it is. All of that shares the machine.
//!
//! Without `--rate` the nodes always have something to send: that is the most messages a second. With it
//! they make so many messages a second altogether: that shows latency. When more comes than goes, batches
//! are held back ("batches held off" in the report), and the run ends once everything that was
//! acknowledged has arrived; if that takes longer than half a minute, the run has failed.
//!
//! Memory is what the process of the gateway grows by. Sessions are not in it, whose tables are there from
//! the start, nor what a gateway keeps of a node beside its streams (inventory, status, plans): all of that
//! is counted by the test `memory` of `testbed/sim`.

mod broker;
mod client;
mod load;
#[path = "../machine.rs"]
#[expect(dead_code, reason = "the other benchmark pins programs to cores")]
mod machine;
mod node;
mod serve;
mod site;
mod subscriber;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Messages a second through a gateway to MQTT, latency, memory for each node.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    load: load::Load,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the gateway.
    #[command(hide = true)]
    Serve(serve::Serve),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Serve(serve)) => serve::run(serve),
        None => load::run(&arguments.load),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capmesh-bench-gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
