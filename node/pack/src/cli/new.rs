//! `new`.

use super::{Failure, program, write};
use capmesh_wire::Name;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Start a capsule from a template that builds
///
/// Makes a folder with capsule.toml, schemas, source, and events to try it with. Then:
///
///   cd NAME
///   capmesh capsule run --input events.jsonl
///   capmesh capsule keygen
///   capmesh capsule build --key publisher.pem
///
/// (`capmesh-capsule` is these commands alone.)
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct New {
    /// The folder, whose last part is the capsule's name.
    path: PathBuf,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// The folder of the Rust SDK (protocols/capsule-abi/sdk of the project), if it is not where this
    /// program was built.
    #[arg(long)]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    /// Rust, with the SDK.
    Rust,
    /// C, for clang.
    C,
    /// AssemblyScript.
    #[value(name = "assemblyscript")]
    AssemblyScript,
}

/// A file of a template, and what stands in it.
type Template = (&'static str, &'static str);

const COMMON: [Template; 4] = [
    ("capsule.toml", include_str!("../../templates/capsule.toml.txt")),
    ("temperature.toml", include_str!("../../templates/temperature.toml.txt")),
    ("warm-reading.toml", include_str!("../../templates/warm-reading.toml.txt")),
    ("events.jsonl", include_str!("../../templates/events.jsonl.txt")),
];

const RUST: [Template; 3] = [
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("../../templates/rust/lib.rs.txt")),
    (".gitignore", "target/\n*.pem\n"),
];

const C: [Template; 2] = [
    ("{{name}}.c", include_str!("../../templates/c/capsule.c.txt")),
    (".gitignore", "capsule.h\n*.pem\n"),
];

const ASSEMBLYSCRIPT: [Template; 3] = [
    ("{{name}}.ts", include_str!("../../templates/assemblyscript/capsule.ts.txt")),
    ("package.json", include_str!("../../templates/assemblyscript/package.json.txt")),
    (".gitignore", "capsule.ts\nnode_modules/\n*.pem\n"),
];

/// What stands in `capsule.toml` about the source.
const IN_C: &str = "language = \"c\"\nsources = [\"{{name}}.c\"]\n";
const IN_ASSEMBLYSCRIPT: &str = "language = \"assemblyscript\"\nsources = [\"{{name}}.ts\"]\n";

impl New {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|name| Name::new(name).is_ok()).ok_or_else(|| {
            Failure::given(
                &self.path,
                "a capsule's name has 1 to 23 small letters, digits and dashes",
            )
        })?;
        if self.path.exists() {
            return Err(Failure::given(&self.path, "is there already"));
        }
        let (own, source): (&[Template], &str) = match self.language {
            Language::Rust => (&RUST, ""),
            Language::C => (&C, IN_C),
            Language::AssemblyScript => (&ASSEMBLYSCRIPT, IN_ASSEMBLYSCRIPT),
        };
        let sdk = match self.language {
            Language::Rust => sdk(self.sdk.as_deref())?.display().to_string(),
            Language::C | Language::AssemblyScript => String::new(),
        };
        for (file, template) in COMMON.iter().chain(own) {
            let text = template
                .replace("{{source}}", source)
                .replace("{{name}}", &name)
                .replace("{{type}}", &type_name(&name))
                .replace("{{sdk}}", &sdk);
            let path = self.path.join(file.replace("{{name}}", &name));
            write(&path, text.as_bytes())?;
            if json {
                println!("{}", json!({ "file": path.display().to_string() }));
            } else {
                println!("{}", path.display());
            }
        }
        if json {
            return Ok(());
        }
        let install = match self.language {
            Language::AssemblyScript => " && npm install",
            Language::Rust | Language::C => "",
        };
        let folder = self.path.display();
        println!("next: cd {folder}{install} && {} run --input events.jsonl", program());
        Ok(())
    }
}

/// The SDK's folder.
fn sdk(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocols/capsule-abi/sdk");
    let path = given.unwrap_or(&own);
    let found = path.canonicalize().ok().filter(|path| path.join("Cargo.toml").is_file());
    found.ok_or_else(|| {
        Failure::Machine(format!(
            "{}: the Rust SDK is not there; give its folder with --sdk",
            path.display()
        ))
    })
}

/// The types that the template's schemas become.
const SCHEMAS: [&str; 2] = ["Temperature", "WarmReading"];

/// A name as a Rust type.
fn type_name(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    let name: String = words.map(word).collect();
    // A type does not begin with a digit, and the template's schemas are types too.
    if name.starts_with(|c: char| c.is_ascii_digit()) || SCHEMAS.contains(&name.as_str()) {
        format!("Capsule{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_after_capsules() {
        let names = ["warm", "too-warm", "3-way", "warm-reading"];
        let types = ["Warm", "TooWarm", "Capsule3Way", "CapsuleWarmReading"];
        assert_eq!(names.map(type_name), types);
    }
}
