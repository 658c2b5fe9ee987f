//! Outside peers.
