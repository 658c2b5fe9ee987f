//! `capsule.toml`.

use crate::fault::{Collector, Faults, File};
use crate::nearest::hint;
use crate::schema::{self, field, longest_payload, unit};
use crate::section::{Distinct, Section, Word};
use crate::{
    Actuator, Config, Description, Named, Needs, Peer, Port, Schema, Service, Source, State, Value,
};
use capmesh_wire::limits;
use capmesh_wire::schema::FieldType;
use capmesh_wire::text::{CapsuleName, Name, Tag};
use std::path::Path;

const SECTIONS: &[&str] = &[
    "capsule", "schemas", "input", "output", "sensor", "actuator", "source", "timer", "service",
    "peer", "config", "state", "needs",
];

pub(crate) fn read(path: &Path) -> Result<Description, Faults> {
    let collector = Collector::default();
    let description = File::open(path, &collector).and_then(|file| parse(&file, &collector));
    collector.finish(description)
}

fn parse(file: &File<'_>, collector: &Collector) -> Option<Description> {
    let root = file.toml()?;
    let top = Section::new(file, root.get_ref(), 0..0, "a capsule's description", SECTIONS);
    let schemas = schemas(&top, collector);
    let sensors = ports(&top, "sensor", "`[[sensor]]`", &schemas, limits::CHANNELS);
    let head = top.table("capsule", "`[capsule]`", HEAD);
    if !top.has("capsule") {
        top.missing("[capsule]", "a table with the capsule's `name` and `version`");
    }
    let inputs = ports(&top, "input", "`[[input]]`", &schemas, limits::PORTS);
    let outputs = ports(&top, "output", "`[[output]]`", &schemas, limits::PORTS);
    let services = services(&top, "service", "`[[service]]`", &schemas);
    let peers = peers(&top, &schemas);
    let config = config(&top);
    let state = state(&top);
    let head = head?;
    let name = capsule_name(&head);
    let version = version(&head);
    Some(Description {
        path: file.path.clone(),
        name: name?,
        version: version?,
        sequence: head.whole("sequence", "a number, 0 or more").unwrap_or(1),
        chunk_log2: chunk(&head),
        uri: uri(&head),
        doc: head.doc(),
        source: source(&head)?,
        sensors,
        inputs,
        outputs,
        actuators: actuators(&top),
        sources: named(&top, "source", "`[[source]]`", limits::CHANNELS),
        timers: named(&top, "timer", "`[[timer]]`", limits::TIMERS),
        services,
        peers,
        config,
        state,
        needs: needs(&top),
        schemas: schemas.into_iter().map(Result::ok).collect::<Option<_>>()?,
    })
}

const HEAD: &[&str] =
    &["name", "version", "doc", "sequence", "chunk", "uri", "language", "sources"];

fn capsule_name(head: &Section<'_>) -> Option<String> {
    let expected = "the capsule's name in the registry: names of `a-z`, `0-9` and `-` separated by `/`, 47 bytes at most";
    let word = head.required_word("name", expected)?;
    if let Err(error) = CapsuleName::new(word.text) {
        head.file.fault(&word.span(), format!("`{}` is not {expected}: {error}", word.text));
        return None;
    }
    Some(word.text.to_owned())
}

fn version(head: &Section<'_>) -> Option<String> {
    let expected = "the capsule's version, such as \"1.0.0\"";
    let word = head.required_word("version", expected)?;
    if let Err(error) = Tag::new(word.text) {
        head.file.fault(&word.span(), format!("`{}` is not {expected}: {error}", word.text));
        return None;
    }
    Some(word.text.to_owned())
}

/// Chunks of 256 bytes keep a node's buffer small, and a module of a few hundred bytes in one or two.
const DEFAULT_CHUNK_LOG2: u8 = 8;

fn chunk(head: &Section<'_>) -> u8 {
    let expected = "a power of two from 64 to 4096";
    let Some(bytes) = head.whole::<u32>("chunk", expected) else { return DEFAULT_CHUNK_LOG2 };
    let allowed = limits::CHUNK_LOG2_MIN..=limits::CHUNK_LOG2_MAX;
    let log2 = allowed.into_iter().find(|log2| 1 << log2 == bytes);
    log2.unwrap_or_else(|| {
        head.file.fault(&head.span_of("chunk"), format!("`chunk` is to be {expected}"));
        DEFAULT_CHUNK_LOG2
    })
}

fn uri(head: &Section<'_>) -> Option<String> {
    let word = head.word("uri", "a URI")?;
    if word.text.len() > limits::URI {
        let message = format!("the URI is longer than {} bytes", limits::URI);
        head.file.fault(&word.span(), message);
    }
    Some(word.text.to_owned())
}

fn source(head: &Section<'_>) -> Option<Source> {
    let languages = ["rust", "c", "assemblyscript", "prebuilt"];
    let word = head.word("language", "the language that the capsule is written in");
    let language = word.map_or("rust", |word| word.text);
    let files = head.words("sources", "a list of files, relative to this one");
    let files: Option<Vec<_>> =
        files.map(|files| files.iter().map(|word| head.file.beside(word.text)).collect());
    let needed = || {
        if files.as_ref().is_none_or(Vec::is_empty) {
            head.missing("sources", "the list of files that the capsule is built from");
        }
        files.clone().filter(|files| !files.is_empty())
    };
    match (language, word) {
        ("rust", _) => {
            if files.is_some() {
                let message =
                    "a capsule in Rust is the package beside this file: it takes no `sources`";
                head.file.fault(&head.span_of("sources"), message);
            }
            Some(Source::Rust(head.file.beside("")))
        }
        ("c", _) => needed().map(Source::C),
        ("assemblyscript", _) => needed().map(Source::AssemblyScript),
        ("prebuilt", _) => match needed()?.as_slice() {
            [module] => Some(Source::Prebuilt(module.clone())),
            _ => {
                let message = "a prebuilt capsule is one file, in binary or text form";
                head.file.fault(&head.span_of("sources"), message);
                None
            }
        },
        (other, word) => {
            let span = word.map_or(head.span.clone(), |word| word.span());
            let hint = hint(other, &languages);
            let message = format!("`{other}` is not a language that can be built");
            head.file.fault(&span, hint.after(message));
            None
        }
    }
}

/// The schemas that could be read, and the names of those that could not: what refers to them is not
/// wrong as well.
fn schemas(top: &Section<'_>, collector: &Collector) -> Vec<Result<Schema, String>> {
    let words = top.map("schemas", "the path of a schema file, relative to this one");
    let mut schemas = Vec::new();
    for (count, (alias, path)) in words.into_iter().enumerate() {
        if count == limits::SCHEMAS {
            let message = format!("there may be no more than {} schemas", limits::SCHEMAS);
            top.file.fault(&alias.span(), message);
        }
        if let Err(error) = Name::new(alias.text) {
            top.file.fault(&alias.span(), format!("`{}` is not a name: {error}", alias.text));
        }
        let place = top.file.beside(path.text);
        let schema = if place.is_file() {
            File::open(&place, collector).and_then(|file| schema::parse(&file, Some(alias.text)))
        } else {
            let message = format!("there is no file {}{}", place.display(), neighbours(&place));
            top.file.fault(&path.span(), message);
            None
        };
        schemas.push(schema.ok_or_else(|| alias.text.to_owned()));
    }
    schemas
}

/// A hint at the file that was meant.
fn neighbours(path: &Path) -> String {
    let folder = path
        .parent()
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let files = folder.and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    let names: Vec<String> = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    crate::nearest(wanted, names.iter().map(String::as_str))
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The number of the schema that a key names.
fn schema_of(
    section: &Section<'_>,
    key: &str,
    schemas: &[Result<Schema, String>],
) -> Option<usize> {
    let word = section.word(key, "what `[schemas]` calls a schema")?;
    let alias = |schema: &Result<Schema, String>| match schema {
        Ok(schema) => schema.alias.clone(),
        Err(alias) => alias.clone(),
    };
    let names: Vec<String> = schemas.iter().map(alias).collect();
    let number = names.iter().position(|name| name == word.text);
    if number.is_none() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = hint(word.text, &names);
        let message = format!("`{}` is not what `[schemas]` calls a schema", word.text);
        section.file.fault(&word.span(), hint.after(message));
    }
    number
}

fn ports<'a>(
    top: &Section<'a>,
    key: &str,
    what: &'a str,
    schemas: &[Result<Schema, String>],
    most: usize,
) -> Vec<Port> {
    let keys: &[&str] = match key {
        "input" => &["name", "schema", "rate", "doc"],
        _ => &["name", "schema", "doc"],
    };
    let names = Distinct::default();
    let port = |section: Section<'a>| {
        let name = names.check(&section, section.name());
        if !section.has("schema") {
            section.missing("schema", "what `[schemas]` calls a schema");
        }
        let schema = schema_of(&section, "schema", schemas);
        let expected = "messages a second, more than 0";
        let rate = section.number("rate", expected).unwrap_or(1.0);
        if !(rate.is_finite() && rate > 0.0) {
            section.file.fault(&section.span_of("rate"), format!("`rate` is to be {expected}"));
        }
        Some(Port { name: name?.text.to_owned(), schema: schema?, rate, doc: section.doc() })
    };
    top.tables(key, what, keys, most).into_iter().filter_map(port).collect()
}

fn actuators<'a>(top: &Section<'a>) -> Vec<Actuator> {
    let names = Distinct::default();
    let keys = ["name", "unit", "doc"];
    let actuator = |section: Section<'a>| {
        let name = names.check(&section, section.name());
        let unit = unit(&section);
        Some(Actuator { name: name?.text.to_owned(), unit: unit?, doc: section.doc() })
    };
    let sections = top.tables("actuator", "`[[actuator]]`", &keys, limits::CHANNELS);
    sections.into_iter().filter_map(actuator).collect()
}

fn named<'a>(top: &Section<'a>, key: &str, what: &'a str, most: usize) -> Vec<Named> {
    let names = Distinct::default();
    let sections = top.tables(key, what, &["name", "doc"], most);
    let named = |section: &Section<'a>| {
        let name: Word<'_> = names.check(section, section.name())?;
        Some(Named { name: name.text.to_owned(), doc: section.doc() })
    };
    sections.iter().filter_map(named).collect()
}

fn services<'a>(
    parent: &Section<'a>,
    key: &str,
    what: &'a str,
    schemas: &[Result<Schema, String>],
) -> Vec<Service> {
    let names = Distinct::default();
    let keys = ["name", "request", "response", "doc"];
    let service = |section: Section<'a>| {
        let name = names.check(&section, section.name());
        let request = schema_of(&section, "request", schemas);
        let response = schema_of(&section, "response", schemas);
        Some(Service { name: name?.text.to_owned(), request, response, doc: section.doc() })
    };
    parent.tables(key, what, &keys, limits::SERVICES).into_iter().filter_map(service).collect()
}

fn peers(top: &Section<'_>, schemas: &[Result<Schema, String>]) -> Vec<Peer> {
    let names = Distinct::default();
    let keys = ["name", "services", "doc"];
    let mut peers = Vec::new();
    for section in top.tables("peer", "`[[peer]]`", &keys, limits::PEERS) {
        let name = names.check(&section, section.name());
        if !section.has("services") {
            section.missing("services", "a list of what is asked of it: `[{ name = \"...\" }]`");
        }
        let what = "`services` of `[[peer]]`";
        let services = services(&section, "services", what, schemas);
        let doc = section.doc();
        peers.extend(name.map(|name| Peer { name: name.text.to_owned(), services, doc }));
    }
    peers
}

fn config<'a>(top: &Section<'a>) -> Vec<Config> {
    let names = Distinct::default();
    let keys = ["name", "type", "max", "unit", "default", "doc"];
    let sections = top.tables("config", "`[[config]]`", &keys, limits::FIELDS_OF_SCHEMA);
    let one = |section: &Section<'a>| {
        let field = field(section, &names, true)?;
        let default = if field.optional { Some(default(section, field.ty)?) } else { None };
        Some(Config { field, default })
    };
    let config: Vec<Config> = sections.iter().filter_map(one).collect();
    let fields: Vec<_> = config.iter().map(|config| config.field.clone()).collect();
    if longest_payload(&fields) > limits::PAYLOAD {
        let message = format!("the configuration can have more than {} bytes", limits::PAYLOAD);
        top.file.fault(&top.span_of("config"), message);
    }
    config
}

/// The default of a configuration value of that type.
fn default(section: &Section<'_>, ty: FieldType) -> Option<Value> {
    let (least, most) = match ty {
        FieldType::Bool => return section.flag("default").map(Value::Bool),
        FieldType::Text(max) => {
            let expected = format!("a text of at most {max} bytes");
            let word = section.word("default", &expected)?;
            if word.text.len() > usize::from(max) {
                section.file.fault(&word.span(), format!("`default` is to be {expected}"));
            }
            return Some(Value::Text(word.text.to_owned()));
        }
        FieldType::U8 => (0.0, f64::from(u8::MAX)),
        FieldType::U16 => (0.0, f64::from(u16::MAX)),
        FieldType::U32 => (0.0, f64::from(u32::MAX)),
        FieldType::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        FieldType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        FieldType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return section.number("default", "a number").map(Value::Number),
    };
    let expected = format!("a whole number from {least} to {most}");
    let number = section.number("default", &expected)?;
    if !(least..=most).contains(&number) || number.fract() != 0.0 {
        section.file.fault(&section.span_of("default"), format!("`default` is to be {expected}"));
    }
    Some(Value::Number(number))
}

fn state(top: &Section<'_>) -> Option<State> {
    let section = top.table("state", "`[state]`", &["version", "oldest"])?;
    let expected = "a number from 0 to 65535";
    if !section.has("version") {
        section.missing("version", expected);
    }
    let version = section.whole("version", expected)?;
    let oldest = section.whole("oldest", expected).unwrap_or(version);
    if oldest > version {
        let message = format!("`oldest` is to be no more than `version`, which is {version}");
        section.file.fault(&section.span_of("oldest"), message);
    }
    Some(State { version, oldest })
}

fn needs(top: &Section<'_>) -> Needs {
    let keys = [
        "stack",
        "memory",
        "fuel-per-second",
        "fuel-per-handler",
        "outbox-bytes",
        "outbox-entries",
    ];
    let Some(section) = top.table("needs", "`[needs]`", &keys) else { return Needs::default() };
    let bytes = "a number of bytes";
    let fuel = "a number of units of fuel";
    let needs = Needs {
        stack: section.whole("stack", bytes),
        memory: section.whole("memory", bytes),
        fuel_per_second: section.whole("fuel-per-second", fuel),
        fuel_per_handler: section.whole("fuel-per-handler", fuel),
        outbox_bytes: section.whole("outbox-bytes", "a number of bytes, 65535 at most"),
        outbox_entries: section.whole("outbox-entries", "a number, 255 at most"),
    };
    if needs.stack.is_some_and(|stack| stack % 16 != 0) {
        section.file.fault(&section.span_of("stack"), "`stack` is to be a multiple of 16");
    }
    needs
}
