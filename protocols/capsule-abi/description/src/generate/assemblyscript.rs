//! `capsule.ts`.

use super::{about, camel, default, numbers, upper};
use crate::{Config, Description, Place, Schema, Value};
use capmesh_wire::schema::FieldType;
use std::fmt::Write as _;

impl Description {
    /// `capsule.ts` for a capsule in AssemblyScript: the records as classes over memory that is
    /// set aside once (nothing is ever allocated), the numbers as constants, and a function for each
    /// output, sensor, resource and configuration value.
    #[must_use]
    pub fn assemblyscript(&self) -> String {
        let mut out = format!("// Made of {}'s capsule.toml. Do not edit.\n", self.name);
        out.push_str("import * as capmesh from \"capmesh\";\n");
        for (index, schema) in self.schemas.iter().enumerate() {
            let is_first = self.schemas.iter().position(|other| other.path == schema.path);
            if is_first == Some(index) {
                write_class(&mut out, schema);
            }
        }
        for (kind, names) in numbers(self).into_iter().filter(|(_, names)| !names.is_empty()) {
            out.push('\n');
            for (number, name) in names.iter().enumerate() {
                let _ = writeln!(out, "export const {kind}_{}: u32 = {number};", upper(name));
            }
        }
        for port in &self.outputs {
            let (name, constant) = (camel(&port.name), upper(&port.name));
            let (ty, len) = self.record(port.schema);
            let _ = write!(
                out,
                "\nexport function publish{name}(message: {ty}): i32 {{\n  \
                 return capmesh.publish(OUTPUT_{constant}, changetype<usize>(message), {len});\n}}\n"
            );
        }
        for port in &self.sensors {
            let (name, constant) = (camel(&port.name), upper(&port.name));
            let (ty, len) = self.record(port.schema);
            let _ = write!(
                out,
                "\nexport function sense{name}(sample: {ty}): bool {{\n  \
                 return capmesh.sensor(SENSOR_{constant}, changetype<usize>(sample), {len}) >= 0;\n}}\n"
            );
        }
        self.peers.iter().for_each(|peer| self.write_ask_in_assemblyscript(&mut out, peer));
        self.config.iter().for_each(|config| write_config(&mut out, config));
        out
    }

    /// A schema's class, and the length of its record.
    fn record(&self, schema: usize) -> (String, usize) {
        let schema = self.schemas.get(schema);
        schema.map(|schema| (class(schema), schema.layout().len)).unwrap_or_default()
    }

    fn write_ask_in_assemblyscript(&self, out: &mut String, peer: &crate::Peer) {
        for (number, service) in peer.services.iter().enumerate() {
            let name = format!("{}{}", camel(&peer.name), camel(&service.name));
            let peer = upper(&peer.name);
            let (parameter, body) = match service.request.map(|schema| self.record(schema)) {
                Some((ty, len)) => {
                    (format!("body: {ty}"), format!("changetype<usize>(body), {len}"))
                }
                None => (String::new(), "0, 0".to_owned()),
            };
            let _ = write!(
                out,
                "\nexport function ask{name}({parameter}): i32 {{\n  \
                 return capmesh.request(PEER_{peer}, {number}, {body});\n}}\n"
            );
        }
    }
}

/// The classes of the language that a legal name could become.
const TAKEN: &[&str] =
    &["Array", "Date", "Error", "Function", "Map", "Object", "Set", "String", "Symbol"];

fn class(schema: &Schema) -> String {
    let name = camel(&schema.name);
    let is_taken = TAKEN.contains(&name.as_str()) || name.starts_with(|c: char| c.is_ascii_digit());
    if is_taken { format!("_{name}") } else { name }
}

/// The keywords that a legal name can be.
const KEYWORDS: &[&str] = &[
    "abstract",
    "as",
    "async",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "constructor",
    "continue",
    "debugger",
    "declare",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "from",
    "function",
    "get",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "is",
    "keyof",
    "let",
    "module",
    "namespace",
    "new",
    "null",
    "of",
    "override",
    "package",
    "private",
    "protected",
    "public",
    "readonly",
    "return",
    "set",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "type",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// A member: `maxAge`, with a `_` before a keyword or digit.
fn member(name: &str) -> String {
    let name = camel(name);
    let (first, rest) = name.split_at_checked(1).unwrap_or((&name, ""));
    let name = first.to_lowercase() + rest;
    let is_taken =
        KEYWORDS.contains(&name.as_str()) || name.starts_with(|c: char| c.is_ascii_digit());
    if is_taken { format!("_{name}") } else { name }
}

fn scalar(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Text(_) | FieldType::Bytes(_) => "u8",
        scalar => scalar.name(),
    }
}

fn write_class(out: &mut String, schema: &Schema) {
    let (name, layout) = (class(schema), schema.layout());
    out.push('\n');
    if let Some(doc) = &schema.doc {
        let _ = writeln!(out, "/** {} */", doc.replace("*/", "* /"));
    }
    let _ = writeln!(out, "@unmanaged\nexport class {name} {{");
    for place in &layout.places {
        let about = about(place.field);
        if !about.is_empty() {
            let _ = writeln!(out, "  /** {} */", about.replace("*/", "* /"));
        }
        write_member(out, place);
    }
    let _ = writeln!(out, "}}");
    let (len, align) = (layout.len, layout.align);
    let constant = upper(&schema.name);
    let _ = write!(
        out,
        "\nconst {constant}: usize = memory.data({len}, {align});\n\n\
         /** The one {name} that there is room for. */\n@inline\n\
         export function the{name}(): {name} {{\n  return changetype<{name}>({constant});\n}}\n\n\
         /** The event being handled, if it carries a {name}: it is read into the one. */\n\
         export function read{name}(): {name} {{\n  capmesh.read(0, {constant}, {len});\n  \
         return changetype<{name}>({constant});\n}}\n"
    );
}

/// Getters and setters at the places of the contract.
fn write_member(out: &mut String, place: &Place<'_>) {
    let (name, at) = (member(&place.field.name), place.at);
    if let Some(presence) = place.presence {
        write_access(out, &format!("has{}", camel(&place.field.name)), "bool", presence);
    }
    if let FieldType::Text(max) | FieldType::Bytes(max) = place.field.ty {
        write_access(out, &format!("{name}Length"), "u8", at);
        let start = at + 1;
        let _ = writeln!(
            out,
            "  /** Where its bytes are: {max} at most. */\n  @inline get {name}(): usize {{ return \
             changetype<usize>(this) + {start}; }}"
        );
    } else {
        write_access(out, &name, scalar(place.field.ty), at);
    }
}

fn write_access(out: &mut String, name: &str, ty: &str, at: usize) {
    let this = "changetype<usize>(this)";
    let _ = writeln!(
        out,
        "  @inline get {name}(): {ty} {{ return load<{ty}>({this}, {at}); }}\n  \
         @inline set {name}(value: {ty}) {{ store<{ty}>({this}, value, {at}); }}"
    );
}

fn write_config(out: &mut String, config: &Config) {
    let (name, constant) = (camel(&config.field.name), upper(&config.field.name));
    let about = about(&config.field);
    out.push('\n');
    if !about.is_empty() {
        let _ = writeln!(out, "/** {} */", about.replace("*/", "* /"));
    }
    if let FieldType::Text(max) = config.field.ty {
        let fallback = match &config.default {
            Some(Value::Text(text)) => {
                let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
                let len = text.len();
                format!(
                    "\n  if (len < 0) {{\n    memory.copy(to, memory.data<u8>([{}]), {len});\n    \
                     return {len};\n  }}",
                    bytes.join(", ")
                )
            }
            _ => String::new(),
        };
        let _ = write!(
            out,
            "export function config{name}(to: usize): i32 {{\n  \
             const len = capmesh.config(CONFIG_{constant}, to, {max});{fallback}\n  return len;\n}}\n"
        );
        return;
    }
    let ty = scalar(config.field.ty);
    // A value that must be configured is: the node starts no other instance.
    let absent = if ty == "bool" { "false" } else { "0" };
    let fallback = default(config).unwrap_or_else(|| absent.to_owned());
    let get = "load<f64>(capmesh.NUMBER)";
    let value = if ty == "bool" { format!("{get} != 0") } else { format!("<{ty}>{get}") };
    let _ = write!(
        out,
        "export function config{name}(): {ty} {{\n  \
         return capmesh.config(CONFIG_{constant}, capmesh.NUMBER, 8) < 0 ? {fallback} : {value};\n}}\n"
    );
}
