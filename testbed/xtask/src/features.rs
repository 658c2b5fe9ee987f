//! The combinations of features that must build: for each core none, each one alone, and all.

use std::process::Command;

use anyhow::Result;

use crate::{
    process::run,
    workspace::{self, Package},
};

/// Checks every combination with clippy, its warnings being errors.
pub(crate) fn check_all() -> Result<()> {
    for package in workspace::packages()?.values().filter(|package| package.is_core()) {
        for features in combinations(&package.features) {
            run(workspace::cargo()
                .args(["clippy", "--quiet", "--locked", "--package", &package.name])
                .args(["--no-default-features", "--features", &features.join(",")])
                .args(["--", "--deny", "warnings"]))?;
        }
    }
    Ok(())
}

/// What the tests of other crates use. It needs a host.
const FOR_TESTS: &str = "test-util";

/// Enables every feature of the package that is for microcontrollers too, in a command that names
/// several packages.
pub(crate) fn enable_all(cargo: &mut Command, package: &Package) {
    for feature in package.features.iter().filter(|feature| *feature != FOR_TESTS) {
        cargo.arg("--features").arg(format!("{}/{feature}", package.name));
    }
}

fn combinations(features: &[String]) -> Vec<Vec<&str>> {
    let all: Vec<&str> = features.iter().map(String::as_str).collect();
    let mut combinations = vec![Vec::new()];
    combinations.extend(all.iter().map(|feature| vec![*feature]));
    if all.len() > 1 {
        combinations.push(all);
    }
    combinations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_none_each_and_all() {
        let features =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(combinations(&[]), [Vec::<&str>::new()]);
        assert_eq!(combinations(&features(&["x"])), [vec![], vec!["x"]]);
        assert_eq!(
            combinations(&features(&["x", "y"])),
            [vec![], vec!["x"], vec!["y"], vec!["x", "y"]]
        );
    }
}
