//! The examples that come with the command: capsules, pipelines, recordings.

use crate::Failure;
use anyhow::{Context as _, Result};
use capmesh_capsule::seal::{self, Sealed};
use capmesh_description::nearest;
use rust_embed::RustEmbed;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// The key that signed the example capsules.
pub(super) const PUBLISHER: &[u8] =
    include_bytes!("../../../../examples/capsules/dist/examples.ccs");

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../examples/capsules/dist"]
#[include = "*.capsule"]
struct Capsules;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../examples/pipelines"]
#[include = "*.toml"]
#[exclude = "*/*"]
struct Pipelines;

/// What is replayed: the rows, and the schema of the samples.
const RECORDING: [(&str, &[u8]); 2] = [
    ("city-air.csv", include_bytes!("../../../../examples/pipelines/data/city-air.csv")),
    ("air-quality.toml", include_bytes!("../../../../examples/pipelines/data/air-quality.toml")),
];

/// Writes what is replayed into a directory.
pub(super) fn write_recordings(directory: &Path) -> Result<()> {
    for (name, bytes) in RECORDING {
        fs::write(directory.join(name), bytes).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// What a node is told that replays it: from there, or other rows of the same kind.
pub(super) fn replay(directory: &Path, rows: Option<&Path>) -> OsString {
    let [(usual, _), (schema, _)] = RECORDING;
    let rows = rows.map_or_else(|| directory.join(usual), Path::to_path_buf);
    let mut argument = OsString::from("air-quality=");
    argument.push(rows);
    argument.push(",");
    argument.push(directory.join(schema));
    argument
}

/// The example capsules.
pub(super) fn capsules() -> Result<Vec<Sealed>> {
    let open = |name: std::borrow::Cow<'static, str>| {
        let file = Capsules::get(&name).context("an embedded file is gone")?;
        seal::open(&file.data).with_context(|| name.into_owned())
    };
    Capsules::iter().map(open).collect()
}

/// The text of a pipeline: that of a file, or of the example of this name.
pub(crate) fn pipeline(name: &str) -> Result<String> {
    let path = Path::new(name);
    if path.exists() {
        return fs::read_to_string(path).with_context(|| path.display().to_string());
    }
    match Pipelines::get(&format!("{name}.toml")) {
        Some(file) => String::from_utf8(file.data.into_owned()).context("an example"),
        None => {
            let names: Vec<_> = Pipelines::iter()
                .filter_map(|file| Some(file.strip_suffix(".toml")?.to_owned()))
                .collect();
            let nearest = nearest(name, names.iter().map(String::as_str));
            let failure =
                Failure::new("machine", format!("{name} is neither a file nor an example"));
            let help = nearest.map(|name| format!("did you mean {name}?"));
            let help = help.unwrap_or_else(|| format!("examples: {}", names.join(", ")));
            Err(failure.help(help).into())
        }
    }
}
