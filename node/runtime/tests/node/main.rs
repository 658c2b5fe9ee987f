//! Whole nodes with the real runtime, flash that tears, and a network that loses.

mod contract;
mod faults;
mod install;
mod life;
mod moves;
mod relay;
mod trust;
mod turns;
mod update;
mod world;
