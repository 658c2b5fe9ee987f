//! EDHOC and OSCORE under CoAP: authenticated peers, their roles, their sessions.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod edhoc;
