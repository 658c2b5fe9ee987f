//! All steps in a row: from `capsule.toml` to a capsule that is measured and can be sealed.

use crate::build::{self, BuildError, Built};
use crate::forecast::{self, Failure, Forecast};
use crate::module::{self, Fault, Packed};
use crate::script::{self, BadLine};
use capmesh_description::{Description, Faults};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file beside `capsule.toml` that holds what a capsule is measured under, as a
/// [`script`].
pub const SAMPLES: &str = "samples.jsonl";

/// A capsule that was built, packed and measured.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// What its author says.
    pub description: Description,
    /// What the compiler wrote.
    pub built: Built,
    /// What a node takes.
    pub packed: Packed,
    /// What it needs.
    pub forecast: Forecast,
}

/// Why there is no capsule.
#[derive(Debug)]
pub enum AssembleError {
    /// `capsule.toml` or a schema has faults.
    Description(Faults),
    /// There is no `capsule.toml` at this place.
    NotThere(PathBuf),
    /// It could not be built.
    Build(BuildError),
    /// The module cannot be packed.
    Module(Fault),
    /// The module does not do what the description says.
    Contradiction(Vec<Contradiction>),
    /// The samples to measure it under have a bad line.
    Samples(PathBuf, BadLine),
    /// It could not be measured.
    Measure(Failure),
}

/// Something that the description promises and the module does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// This is described, and the handler for it is not exported.
    NoHandler {
        /// What is described, as its section is called.
        section: &'static str,
        /// The handler.
        handler: &'static str,
    },
    /// The module says that its state has another version.
    StateVersion {
        /// What `[state] version` says, if there is such a section.
        described: Option<u16>,
        /// What `state_version` returns.
        exported: i32,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler { section, handler } => write!(
                f,
                "capsule.toml has a [[{section}]], and the module exports no handler `{handler}`"
            ),
            Self::StateVersion { described: Some(version), exported } => write!(
                f,
                "[state] version is {version}, and the module's `state_version` returns {exported}"
            ),
            Self::StateVersion { described: None, exported } => write!(
                f,
                "the module's `state_version` returns {exported}, and capsule.toml has no [state]"
            ),
        }
    }
}

impl fmt::Display for AssembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description(faults) => faults.fmt(f),
            Self::NotThere(path) => write!(
                f,
                "{}: there is no such file; a capsule's folder has a capsule.toml (`capmesh-capsule \
                 new` makes one)",
                path.display()
            ),
            Self::Build(error) => error.fmt(f),
            Self::Module(fault) => fault.fmt(f),
            Self::Contradiction(all) => {
                let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Samples(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Measure(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for AssembleError {}

impl AssembleError {
    /// Whether something is missing on this machine, rather than wrong with the capsule.
    #[must_use]
    pub const fn is_the_machines(&self) -> bool {
        matches!(
            self,
            Self::NotThere(_)
                | Self::Build(BuildError::Missing { .. } | BuildError::Io(..))
                | Self::Measure(Failure::Uncounted)
        )
    }
}

/// Reads the description at `path`, which is a `capsule.toml` or the folder that has one.
///
/// # Errors
/// If it is not there or has faults.
pub fn describe(path: &Path) -> Result<Description, AssembleError> {
    let path = if path.is_dir() { path.join("capsule.toml") } else { path.to_owned() };
    if !path.exists() {
        return Err(AssembleError::NotThere(path));
    }
    Description::read(&path).map_err(AssembleError::Description)
}

/// Builds and packs what is described, and checks that the one is the other.
///
/// # Errors
/// The first step that fails.
pub fn pack(description: &Description) -> Result<(Built, Packed), AssembleError> {
    let built = build::build(description).map_err(AssembleError::Build)?;
    let packed = module::pack(&built.module, built.hints).map_err(AssembleError::Module)?;
    let contradictions = contradictions(description, &packed);
    if contradictions.is_empty() {
        Ok((built, packed))
    } else {
        Err(AssembleError::Contradiction(contradictions))
    }
}

/// Builds, packs and measures the capsule at `path`.
///
/// # Errors
/// The first step that fails.
pub fn assemble(path: &Path) -> Result<Assembled, AssembleError> {
    let description = describe(path)?;
    let (built, packed) = pack(&description)?;
    let forecast = measure(&description, &packed)?;
    Ok(Assembled { description, built, packed, forecast })
}

/// Measures a packed capsule under the samples that lie beside its description ([`SAMPLES`]), or under
/// a load that is made up.
///
/// # Errors
/// If a sample means nothing, or a handler ends badly.
pub fn measure(description: &Description, packed: &Packed) -> Result<Forecast, AssembleError> {
    let path = description.path.with_file_name(SAMPLES);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return forecast::measure(packed, description).map_err(AssembleError::Measure);
    };
    let (schedule, end) = script::schedule(description, &text)
        .map_err(|error| AssembleError::Samples(path, error))?;
    forecast::measure_under(packed, description, &BTreeMap::new(), &schedule, end)
        .map_err(AssembleError::Measure)
}

/// What a description promises and a packed module does not keep.
#[must_use]
pub fn contradictions(description: &Description, packed: &Packed) -> Vec<Contradiction> {
    let sections = [
        ("input", "message", description.inputs.is_empty()),
        ("timer", "timer", description.timers.is_empty()),
        ("source", "event", description.sources.is_empty()),
        ("service", "request", description.services.is_empty()),
    ];
    let missing = sections
        .into_iter()
        .filter(|(_, handler, is_empty)| !is_empty && !packed.handlers.contains(handler));
    let mut found: Vec<Contradiction> = missing
        .map(|(section, handler, _)| Contradiction::NoHandler { section, handler })
        .collect();
    let described = description.state.map(|state| state.version);
    if let Some(exported) = packed.state_version
        && described.map(i32::from) != Some(exported)
    {
        found.push(Contradiction::StateVersion { described, exported });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Hints;

    #[test]
    fn a_description_that_promises_too_much_is_found_out() {
        let example = "../../protocols/capsule-abi/description/src/example/capsule.toml";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(example);
        let description = describe(&path).unwrap();
        let text = r#"(module (memory (export "memory") 1 (pagesize 1))
            (func (export "message") (param i32 i32))
            (func (export "state_version") (result i32) (i32.const 7)))"#;
        let packed = module::pack(text.as_bytes(), Hints::default()).unwrap();
        let found = contradictions(&description, &packed);
        let words = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for expected in ["[[timer]]", "[[source]]", "[[service]]", "returns 7"] {
            assert!(words.contains(expected), "{words}");
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = describe(Path::new("/nowhere")).unwrap_err();
        assert!(error.is_the_machines());
        assert!(error.to_string().starts_with("/nowhere: there is no such file"));
    }
}
