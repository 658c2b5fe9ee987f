//! A node of a capsule mesh as a Linux process: the shell around `capmesh-node`, which moves bytes and
//! time and decides nothing.
//!
//! # Words
//! - *state directory*: holds one file, `flash`, readable by its owner only: the node's key, site,
//!   capsules and snapshots, under the same rules as the flash of a board.
//! - *claim*: what is printed at the start, as text and as a QR code; who shows it may adopt the node.
//! - *replay*: recorded rows that are played as a sensor.
//!
//! # Invariants
//! - Flash is changed by one operation at a time, each in the file and synchronised before the node
//!   hears of it. What kill -9 or a power cut tears, the node's store mends.
//! - One process at a time uses a state directory.
//! - Nothing but this crate reads the machine: the node gets samples as inputs.
//!
//! # Deliberately absent
//! Deciding anything: what runs here is the site's business. A runner shared with boards: they have
//! interrupts and one stack where this has sockets, a thread that waits for the disk and signals; the
//! part in common is the loop in `run.rs`, of some fifty lines. A configuration file: every argument
//! can be given in the environment.

mod arguments;
mod failure;
mod flash;
mod node;
mod run;
mod sensors;
mod sockets;
mod stops;
mod terminal;

pub use arguments::Arguments;
pub use failure::Failure;
pub use run::run;
