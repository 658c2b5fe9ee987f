//! What must not stand in the dependency tree of a core.

use anyhow::Result;

use crate::{
    process::output,
    workspace::{self, Package},
};

/// Sockets, clocks, threads, executors, logging and sources of randomness: the shells' business.
const FORBIDDEN: &[&str] = &[
    "async-std",
    "chrono",
    "crossbeam",
    "defmt",
    "embassy-executor",
    "embassy-net",
    "embassy-time",
    "futures",
    "getrandom",
    "libc",
    "log",
    "mio",
    "parking_lot",
    "rand",
    "rayon",
    "smol",
    "smoltcp",
    "socket2",
    "time",
    "tokio",
    "tracing",
];

/// Names every forbidden crate that a core depends on, tests and build scripts not counted.
pub(super) fn check(package: &Package) -> Result<Vec<String>> {
    let tree = output(workspace::cargo().args([
        "tree",
        "--locked",
        "--package",
        &package.name,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        // Any of the microcontroller targets will do.
        "thumbv7m-none-eabi",
        "--all-features",
        "--prefix",
        "none",
    ]))?;
    let found = forbidden(&tree).into_iter();
    Ok(found
        .map(|name| format!("{}: `{name}` in a core's dependency tree", package.name))
        .collect())
}

/// The forbidden ones among the lines `name vVERSION ...`.
fn forbidden(tree: &str) -> Vec<&'static str> {
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    FORBIDDEN.iter().copied().filter(|name| names.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_forbidden() {
        let tree = "capmesh-coap v0.1.0 (/w)\nheapless v0.9.3\nlog v0.4.0\ntokio v1.0.0 (*)\n";
        assert_eq!(forbidden(tree), ["log", "tokio"]);
        assert!(forbidden("rand_core v0.6.4\nlog-like v1.0.0\n").is_empty());
    }
}
