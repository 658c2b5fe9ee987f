//! Placeholder until the crate gets its content.
#![no_std]
