//! Code of other languages from a description: the records, the numbers, and a function for each
//! thing that a capsule does with them. Rust gets the same from the SDK's macros.

mod assemblyscript;
mod c;

use crate::{Config, Description, Field, Source, Value};
use capmesh_wire::schema::{FieldType, Unit};
use std::fmt::Write as _;
use std::path::PathBuf;

impl Description {
    /// The file that is made of the description for its language, and its content: `capsule.h` for C,
    /// `capsule.ts` for AssemblyScript, beside `capsule.toml`.
    #[must_use]
    pub fn generated(&self) -> Option<(PathBuf, String)> {
        match self.source {
            Source::C(_) => Some((self.path.with_file_name("capsule.h"), self.c_header())),
            Source::AssemblyScript(_) => {
                Some((self.path.with_file_name("capsule.ts"), self.assemblyscript()))
            }
            Source::Rust(_) | Source::Prebuilt(_) => None,
        }
    }
}

/// The numbers of everything of a kind, with what its names begin with.
fn numbers(description: &Description) -> Vec<(&'static str, Vec<&str>)> {
    fn names<T>(items: &[T], name: fn(&T) -> &String) -> Vec<&str> {
        items.iter().map(|item| name(item).as_str()).collect()
    }
    vec![
        ("INPUT", names(&description.inputs, |item| &item.name)),
        ("OUTPUT", names(&description.outputs, |item| &item.name)),
        ("SENSOR", names(&description.sensors, |item| &item.name)),
        ("ACTUATOR", names(&description.actuators, |item| &item.name)),
        ("SOURCE", names(&description.sources, |item| &item.name)),
        ("TIMER", names(&description.timers, |item| &item.name)),
        ("SERVICE", names(&description.services, |item| &item.name)),
        ("PEER", names(&description.peers, |item| &item.name)),
        ("CONFIG", names(&description.config, |item| &item.field.name)),
    ]
}

/// `max-age` as `MAX_AGE`.
fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// `max-age` as `MaxAge`.
fn camel(name: &str) -> String {
    let capital = |part: &str| {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        first.to_uppercase() + rest
    };
    name.split('-').map(capital).collect()
}

/// What a field is, with its unit.
fn about(field: &Field) -> String {
    let mut about = field.doc.clone().unwrap_or_default();
    if field.unit != Unit::None {
        if !about.is_empty() {
            about.push(' ');
        }
        let _ = write!(about, "Unit: {}.", field.unit);
    }
    about
}

/// A configuration value's default as C and AssemblyScript write it; texts have none.
fn default(config: &Config) -> Option<String> {
    match config.default.as_ref()? {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) if matches!(config.field.ty, FieldType::F32 | FieldType::F64) => {
            // With a point, also for whole numbers.
            Some(format!("{value:?}"))
        }
        Value::Number(value) => Some(format!("{value}")),
        Value::Text(_) => None,
    }
}
