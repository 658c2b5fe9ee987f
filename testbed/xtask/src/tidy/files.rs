//! Walks the files of each crate, and of the whole tree, and collects their faults.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::source::{Role, Source};
use crate::{
    process::output,
    workspace::{self, Package},
};

/// Folders of a crate whose files are tests and measurements.
const TEST_FOLDERS: &[&str] = &["tests", "benches", "examples"];

/// Marks of unfinished work, in pieces so that this file does not hold them.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Checks the source files of one crate.
pub(super) fn check_package(package: &Package) -> Result<Vec<String>> {
    let folder = workspace::root().join(&package.folder);
    let mut paths = Vec::new();
    collect(&folder.join("src"), &mut paths)?;
    let build_script = folder.join("build.rs");
    if build_script.is_file() {
        paths.push(build_script);
    }
    let sources = paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)?;
            Source::parse(&text)
                .map(|source| (path.clone(), source))
                .with_context(|| path.display().to_string())
        })
        .collect::<Result<Vec<_>>>()?;
    let test_files = test_files(&sources);
    let mut faults = Vec::new();
    for (path, source) in &sources {
        let shown = path.strip_prefix(workspace::root()).unwrap_or(path).display();
        let is_root = is_crate_root(path, &folder);
        if is_root && !source.has_docs() {
            faults.push(format!("{shown}:1: no documentation of the crate"));
        }
        if test_files.iter().any(|test| path.starts_with(test)) {
            continue;
        }
        let role = if package.is_core() {
            Role::Core { root: is_root, heap: package.may_allocate() }
        } else {
            Role::Code
        };
        let found = source.faults(role);
        faults.extend(found.into_iter().map(|(line, fault)| format!("{shown}:{line}: {fault}")));
    }
    Ok(faults)
}

fn is_crate_root(path: &Path, folder: &Path) -> bool {
    let source = folder.join("src");
    path == source.join("lib.rs")
        || path == source.join("main.rs")
        || path.parent() == Some(&source.join("bin"))
}

/// Files and folders of modules that only tests see.
fn test_files(sources: &[(PathBuf, Source)]) -> BTreeSet<PathBuf> {
    let mut tests = BTreeSet::new();
    for (path, source) in sources {
        let Some(folder) = module_folder(path) else { continue };
        for module in source.test_modules() {
            tests.insert(folder.join(format!("{module}.rs")));
            tests.insert(folder.join(module));
        }
    }
    tests
}

/// Where a file's modules are.
fn module_folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    match path.file_stem()?.to_str()? {
        "lib" | "main" | "mod" => Some(folder.to_path_buf()),
        stem => Some(folder.join(stem)),
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !TEST_FOLDERS.contains(&name.as_str()) {
            collect(&path, paths)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(())
}

/// Finds marks of unfinished work in every file of the tree.
pub(super) fn check_marks() -> Result<Vec<String>> {
    let root = workspace::root();
    let list = output(Command::new("git").current_dir(&root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut faults = Vec::new();
    for path in list.lines() {
        // What is not text is not read by people either.
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        faults.extend(marks(&text).map(|(line, mark)| format!("{path}:{line}: {mark} left in")));
    }
    Ok(faults)
}

fn marks(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    text.lines().enumerate().filter_map(|(number, line)| {
        let mark = MARKS.iter().find(|mark| has_word(line, mark))?;
        Some((number + 1, *mark))
    })
}

/// Whether the mark stands in the line and is not a part of a longer word.
fn has_word(line: &str, mark: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + mark.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(in_word) && (mark.ends_with('(') || !after.is_some_and(in_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_whole_words() {
        for mark in MARKS {
            assert_eq!(
                marks(&format!("a\n  // {mark}: later\n")).collect::<Vec<_>>(),
                [(2, *mark)]
            );
            assert_eq!(marks(&format!("NOT{mark}")).count(), 0);
        }
        assert_eq!(marks("MAXXXL, 2.xx").count(), 0);
    }

    #[test]
    fn modules_that_only_tests_see_are_found_beside_their_parent() {
        let parse = |path: &str, text: &str| (PathBuf::from(path), Source::parse(text).unwrap());
        let sources = [
            parse("src/lib.rs", "mod a; #[cfg(test)] mod help;"),
            parse("src/a.rs", "#[cfg(test)] mod vectors;"),
            parse("src/b/mod.rs", "#[cfg(test)] mod more;"),
        ];
        let expected = [
            "src/help.rs",
            "src/help",
            "src/a/vectors.rs",
            "src/a/vectors",
            "src/b/more.rs",
            "src/b/more",
        ];
        assert_eq!(test_files(&sources), expected.into_iter().map(PathBuf::from).collect());
    }

    #[test]
    fn roots_are_libraries_and_programs() {
        let folder = Path::new("p");
        for root in ["p/src/lib.rs", "p/src/main.rs", "p/src/bin/x.rs"] {
            assert!(is_crate_root(Path::new(root), folder), "{root}");
        }
        assert!(!is_crate_root(Path::new("p/src/a/lib.rs"), folder));
        assert!(!is_crate_root(Path::new("p/src/a.rs"), folder));
    }
}
