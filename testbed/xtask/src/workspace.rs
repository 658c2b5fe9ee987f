//! Where things are: the workspace's folders and what `cargo metadata` says about its packages.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::output;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    // This crate is `testbed/xtask`.
    here.ancestors().nth(2).map_or(here.clone(), Path::to_path_buf)
}

/// Things this project installs for itself: a Python environment and command-line tools.
pub(crate) fn private() -> PathBuf {
    root().join(".capmesh")
}

/// The build folder that cargo uses for this workspace.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Where this project's own copies of cargo's helpers are.
pub(crate) fn tools() -> PathBuf {
    private().join("tools/bin")
}

/// `cargo`, to be run in the workspace's root; it finds the helpers in [`tools`].
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([tools()]);
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.current_dir(root());
    command
}

/// A crate of this workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the root, with `/` between names.
    pub(crate) folder: String,
    pub(crate) features: Vec<String>,
    /// Names of the packages of this workspace it depends on.
    pub(crate) uses: Vec<Use>,
}

/// One dependency of a package on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    /// Only its tests, benchmarks and examples use it.
    pub(crate) dev: bool,
}

/// What stands beside the contract that it is for and runs on hosts: what capsules are written with,
/// and keys in files.
const ON_HOSTS: &[&str] = &[
    "protocols/capsule-abi/description",
    "protocols/capsule-abi/macros",
    "protocols/capsule-abi/sdk",
    "protocols/keyfile",
];

impl Package {
    /// A state machine that runs on microcontrollers: no std, no I/O.
    pub(crate) fn is_core(&self) -> bool {
        let is_for_hosts = ON_HOSTS.contains(&self.folder.as_str());
        self.folder.starts_with("protocols/") && !is_for_hosts || self.folder == "node/core"
    }

    /// Whether it is a core with a heap: the protocols have none.
    pub(crate) fn may_allocate(&self) -> bool {
        !self.folder.starts_with("protocols/")
    }
}

/// Every package of the workspace, by name.
pub(crate) fn packages() -> Result<BTreeMap<String, Package>> {
    let text =
        output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    parse(&metadata, &root())
}

fn parse(metadata: &Value, root: &Path) -> Result<BTreeMap<String, Package>> {
    let rows = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    rows.iter()
        .map(|row| parse_package(row, root, &names).map(|package| (package.name.clone(), package)))
        .collect()
}

fn parse_package(row: &Value, root: &Path, members: &[&str]) -> Result<Package> {
    let name = row["name"].as_str().context("a package has no name")?.to_owned();
    let manifest = row["manifest_path"].as_str().context("a package has no manifest")?;
    let folder = Path::new(manifest)
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
        .with_context(|| format!("{name} lies outside the workspace"))?
        .to_string_lossy()
        .replace('\\', "/");
    let features = row["features"]
        .as_object()
        .map(|features| features.keys().filter(|key| *key != "default").cloned().collect())
        .unwrap_or_default();
    let uses = items(&row["dependencies"])
        .filter_map(|dependency| {
            let name = dependency["name"].as_str().filter(|name| members.contains(name))?;
            Some(Use { name: name.to_owned(), dev: dependency["kind"].as_str() == Some("dev") })
        })
        .collect();
    Ok(Package { name, folder, features, uses })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_chores_need_from_the_metadata() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "manifest_path": "/w/protocols/a/Cargo.toml",
              "features": { "default": [], "x": [] },
              "dependencies": [{ "name": "b", "kind": "dev" }, { "name": "serde", "kind": null }] },
            { "name": "b", "manifest_path": "/w/node/linux/Cargo.toml", "features": {},
              "dependencies": [{ "name": "a", "kind": null }] },
        ]});
        let packages = parse(&metadata, Path::new("/w")).unwrap();
        let a = &packages["a"];
        assert_eq!((a.folder.as_str(), a.is_core()), ("protocols/a", true));
        assert_eq!(a.features, ["x"]);
        assert_eq!(a.uses, [Use { name: "b".into(), dev: true }]);
        assert!(!packages["b"].is_core());
        assert_eq!(packages["b"].uses, [Use { name: "a".into(), dev: false }]);
    }
}
