//! `capsule.h`.

use super::{about, default, numbers, upper};
use crate::{Config, Description, Field, Port, Schema, Value};
use capmesh_wire::schema::FieldType;
use std::fmt::Write as _;

impl Description {
    /// `capsule.h` for a capsule in C: the records as structs, the numbers as constants, and a
    /// function for each output, sensor, resource and configuration value.
    #[must_use]
    pub fn c_header(&self) -> String {
        let mut out = format!("/* Made of {}'s capsule.toml. Do not edit. */\n", self.name);
        out.push_str("#ifndef CAPSULE_H\n#define CAPSULE_H\n\n#include <capmesh.h>\n");
        for (index, schema) in self.schemas.iter().enumerate() {
            let is_first = self.schemas.iter().position(|other| other.path == schema.path);
            if is_first == Some(index) {
                write_struct(&mut out, schema);
            }
        }
        for (kind, names) in numbers(self).into_iter().filter(|(_, names)| !names.is_empty()) {
            let constants: Vec<String> = (0..)
                .zip(names)
                .map(|(number, name): (u32, _)| format!("{kind}_{} = {number}", upper(name)))
                .collect();
            let _ = write!(out, "\nenum {{ {} }};\n", constants.join(", "));
        }
        self.outputs.iter().for_each(|port| self.write_publish(&mut out, port));
        self.sensors.iter().for_each(|port| self.write_sense(&mut out, port));
        self.peers.iter().for_each(|peer| self.write_ask_in_c(&mut out, peer));
        self.config.iter().for_each(|config| write_config(&mut out, config));
        out.push_str("\n#endif\n");
        out
    }

    fn type_of(&self, schema: usize) -> String {
        self.schemas.get(schema).map(type_name).unwrap_or_default()
    }

    fn write_publish(&self, out: &mut String, port: &Port) {
        let (name, ty) = (snake(&port.name), self.type_of(port.schema));
        let constant = upper(&port.name);
        let _ = write!(
            out,
            "\nstatic inline int32_t publish_{name}(const {ty} *message) {{\n    \
             return capmesh_publish(OUTPUT_{constant}, message, sizeof *message);\n}}\n"
        );
    }

    fn write_sense(&self, out: &mut String, port: &Port) {
        let (name, ty) = (snake(&port.name), self.type_of(port.schema));
        let constant = upper(&port.name);
        let _ = write!(
            out,
            "\nstatic inline bool sense_{name}({ty} *sample) {{\n    \
             return capmesh_sensor(SENSOR_{constant}, sample, sizeof *sample) >= 0;\n}}\n"
        );
    }

    fn write_ask_in_c(&self, out: &mut String, peer: &crate::Peer) {
        for (number, service) in peer.services.iter().enumerate() {
            let name = format!("{}_{}", snake(&peer.name), snake(&service.name));
            let peer = upper(&peer.name);
            let (parameter, body) = match service.request {
                Some(schema) => {
                    (format!("const {} *body", self.type_of(schema)), "body, sizeof *body")
                }
                None => ("void".to_owned(), "0, 0"),
            };
            let _ = write!(
                out,
                "\nstatic inline int32_t ask_{name}({parameter}) {{\n    \
                 return capmesh_request(PEER_{peer}, {number}, {body});\n}}\n"
            );
        }
    }
}

fn type_name(schema: &Schema) -> String {
    format!("{}_t", identifier_start(snake(&schema.name)))
}

/// The keywords that a legal name can be, and what the header itself uses.
const TAKEN: &[&str] = &[
    "auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double",
    "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "asm", "typeof", "true", "false",
];

/// `max-age` as `max_age`.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// A name that stands alone in C: with one more `_` behind a keyword or before a digit.
fn identifier(name: &str) -> String {
    let name = snake(name);
    if TAKEN.contains(&name.as_str()) { name + "_" } else { identifier_start(name) }
}

fn identifier_start(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn write_struct(out: &mut String, schema: &Schema) {
    let name = type_name(schema);
    out.push('\n');
    if let Some(doc) = &schema.doc {
        let _ = writeln!(out, "/* {} */", comment(doc));
    }
    let _ = writeln!(out, "typedef struct {{");
    for field in &schema.fields {
        let about = about(field);
        if !about.is_empty() {
            let _ = writeln!(out, "    /* {} */", comment(&about));
        }
        if field.optional {
            let _ = writeln!(out, "    bool has_{};", identifier(&field.name));
        }
        let _ = writeln!(out, "    {};", member(field));
    }
    let layout = schema.layout();
    let _ = writeln!(out, "}} {name};");
    let _ = writeln!(
        out,
        "_Static_assert(sizeof({name}) == {}, \"the contract's layout\");",
        layout.len
    );
    for place in &layout.places {
        let (field, at) = (identifier(&place.field.name), place.at);
        let _ = writeln!(
            out,
            "_Static_assert(offsetof({name}, {field}) == {at}, \"the contract's layout\");"
        );
    }
    let _ = write!(
        out,
        "\n/* The event being handled, if it carries this. */\n\
         static inline {name} read_{}(void) {{\n    {name} message;\n    \
         capmesh_read(0, &message, sizeof message);\n    return message;\n}}\n",
        snake(&schema.name)
    );
}

/// A comment must not end within.
fn comment(text: &str) -> String {
    text.replace("*/", "* /")
}

fn scalar(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Bool => "bool",
        FieldType::U8 | FieldType::Text(_) | FieldType::Bytes(_) => "uint8_t",
        FieldType::U16 => "uint16_t",
        FieldType::U32 => "uint32_t",
        FieldType::U64 => "uint64_t",
        FieldType::I8 => "int8_t",
        FieldType::I16 => "int16_t",
        FieldType::I32 => "int32_t",
        FieldType::I64 => "int64_t",
        FieldType::F32 => "float",
        FieldType::F64 => "double",
    }
}

fn member(field: &Field) -> String {
    let name = identifier(&field.name);
    match field.ty {
        FieldType::Text(max) => format!("struct {{ uint8_t len; char text[{max}]; }} {name}"),
        FieldType::Bytes(max) => format!("struct {{ uint8_t len; uint8_t bytes[{max}]; }} {name}"),
        ty => format!("{} {name}", scalar(ty)),
    }
}

fn write_config(out: &mut String, config: &Config) {
    let (name, constant) = (snake(&config.field.name), upper(&config.field.name));
    let about = about(&config.field);
    out.push('\n');
    if !about.is_empty() {
        let _ = writeln!(out, "/* {} */", comment(&about));
    }
    if let FieldType::Text(max) = config.field.ty {
        let fallback = match &config.default {
            Some(Value::Text(text)) => format!(
                "\n    if (len < 0) {{\n        static const char fallback[] = {text:?};\n        \
                 for (len = 0; fallback[len]; len++) to[len] = fallback[len];\n    }}"
            ),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "static inline int32_t config_{name}(char to[{max}]) {{\n    \
             int32_t len = capmesh_config(CONFIG_{constant}, to, {max});{fallback}\n    \
             return len;\n}}"
        );
        return;
    }
    let ty = scalar(config.field.ty);
    // A value that must be configured is: the node starts no other instance.
    let fallback = default(config).unwrap_or_else(|| "0".to_owned());
    let converted = if config.field.ty == FieldType::Bool { "value != 0" } else { "value" };
    let _ = writeln!(
        out,
        "static inline {ty} config_{name}(void) {{\n    double value;\n    \
         return capmesh_config(CONFIG_{constant}, &value, sizeof value) < 0 ? ({ty}){fallback} : \
         ({ty})({converted});\n}}"
    );
}
