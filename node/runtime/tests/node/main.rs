//! Whole nodes with the real runtime, flash that tears, and a network that loses.

mod contract;
mod faults;
mod install;
mod life;
mod moves;
mod trust;
mod world;
