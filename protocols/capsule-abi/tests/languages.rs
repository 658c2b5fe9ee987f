//! The contract in other languages: each description of it is held to the tables of this crate.

use capmesh_capsule_abi::{
    DOCUMENTED_HANDLERS, DOCUMENTED_IMPORTS, Documented, Errno, Function, HANDLERS, IMPORT_MODULE,
    IMPORTS, Type, VERSION,
};
use std::fmt::Write as _;
use std::path::Path;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_default()
}

/// A function's documentation without its signature, and the names of its parameters.
fn parts(doc: &'static str) -> (&'static str, Vec<&'static str>) {
    let (signature, doc) = doc.split_once("): ").expect("a signature and a sentence");
    let names = signature.split_once('(').map_or("", |(_, names)| names);
    (doc, names.split(", ").filter(|name| !name.is_empty()).collect())
}

/// The contract as WIT: functions take and give core values, and pointers are numbers, since there is
/// no component model on the device.
fn wit() -> String {
    let mut out = format!(
        "// Generated from the tables of capmesh-capsule-abi, for documentation: capsules are core\n\
         // modules, of which `dst` and `src` are addresses in linear memory. The module name of the\n\
         // imports is `{IMPORT_MODULE}`, and names have `_` for `-`.\n\
         package capmesh:capsule@{VERSION}.0.0;\n\n\
         /// What a capsule may import.\ninterface node {{\n"
    );
    for function in &DOCUMENTED_IMPORTS {
        write_function(&mut out, function, "");
    }
    out.push_str("}\n\n/// What a capsule may export.\nworld capsule {\n    import node;\n\n");
    for function in &DOCUMENTED_HANDLERS {
        write_function(&mut out, function, "export ");
    }
    out.push_str("}\n");
    out
}

fn write_function(out: &mut String, Documented { function, doc }: &Documented, export: &str) {
    let (doc, names) = parts(doc);
    let parameters: Vec<String> = names
        .iter()
        .zip(function.params)
        .map(|(name, ty)| {
            // The one word of WIT's own among the names.
            let escape = if *name == "resource" { "%" } else { "" };
            format!("{escape}{name}: {}", if *ty == Type::I32 { "u32" } else { wide(*ty) })
        })
        .collect();
    let result = function.result.map_or_else(String::new, |ty| {
        format!(" -> {}", if ty == Type::I32 { "s32" } else { wide(ty) })
    });
    let _ = writeln!(
        out,
        "    /// {doc}\n    {export}{}: func({}){result};",
        function.name.replace('_', "-"),
        parameters.join(", ")
    );
}

fn wide(ty: Type) -> &'static str {
    if ty == Type::I64 { "s64" } else { "f64" }
}

/// `CAPMESH_UPDATE=1 cargo test -p capmesh-capsule-abi` writes it anew.
#[test]
fn the_wit_description_is_current() {
    let path = "wit/capmesh.wit";
    if std::env::var_os("CAPMESH_UPDATE").is_some() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::write(place, wit()).expect("it can be written");
    }
    assert!(file(path) == wit(), "{path} is not current: run this test with CAPMESH_UPDATE=1");
}

/// The core type of a parameter or result in C or AssemblyScript.
fn core_type(written: &str) -> Option<Type> {
    let written = written.trim();
    let is_pointer = written.contains('*');
    match written.split_whitespace().next()? {
        _ if is_pointer => Some(Type::I32),
        "uint32_t" | "int32_t" | "size_t" | "u32" | "i32" | "usize" => Some(Type::I32),
        "int64_t" | "i64" => Some(Type::I64),
        "double" | "f64" => Some(Type::F64),
        "void" => None,
        other => unreachable!("a type that the contract does not know: {other}"),
    }
}

/// What follows `marker`, up to the semicolon: a declaration.
fn declaration<'t>(text: &'t str, marker: &str) -> &'t str {
    let (_, after) = text.split_once(marker).expect(marker);
    after.split_once(';').expect("a declaration").0.trim()
}

fn check_c(text: &str, macro_name: &str, function: &Function) {
    let declared = declaration(text, &format!("{macro_name}(\"{}\")", function.name));
    let (head, parameters) = declared.split_once('(').expect(declared);
    let types: Vec<Type> =
        parameters.trim_end_matches(')').split(',').filter_map(core_type).collect();
    assert_eq!(types, function.params, "{declared}");
    assert_eq!(core_type(head), function.result, "{declared}");
}

#[test]
fn the_c_header_is_the_contract() {
    let text = file("c/capmesh.h");
    IMPORTS.iter().for_each(|function| check_c(&text, "CAPMESH_IMPORT", function));
    HANDLERS.iter().for_each(|function| check_c(&text, "CAPMESH_EXPORT", function));
    let macros = |name: &str| text.matches(&format!("\n{name}(\"")).count();
    assert_eq!(macros("CAPMESH_IMPORT"), IMPORTS.len());
    assert_eq!(macros("CAPMESH_EXPORT"), HANDLERS.len());
    assert!(text.contains(&format!("import_module(\"{IMPORT_MODULE}\")")));
    check_errors(|name, code| text.contains(&format!("CAPMESH_{name} = {code},")));
}

#[test]
fn the_assemblyscript_package_is_the_contract() {
    let text = file("assemblyscript/capmesh/index.ts");
    let types = |parameters: &str| -> Vec<Type> {
        let typed = parameters.split(", ").filter_map(|parameter| parameter.split_once(": "));
        typed.filter_map(|(_, ty)| core_type(ty)).collect()
    };
    let check = |declared: &str, function: &Function| {
        let (parameters, result) = declared.rsplit_once("): ").expect(declared);
        let parameters = parameters.split_once('(').expect(declared).1;
        assert_eq!(types(parameters), function.params, "{declared}");
        assert_eq!(core_type(result), function.result, "{declared}");
    };
    for function in IMPORTS {
        let marker = format!("@external(\"{IMPORT_MODULE}\", \"{}\")", function.name);
        check(declaration(&text, &marker), function);
    }
    assert_eq!(text.matches("@external").count(), IMPORTS.len());
    // The handlers stand in the documentation.
    for function in HANDLERS {
        let marker = format!(" *     export function {}", function.name);
        let (_, after) = text.split_once(&marker).expect(&marker);
        check(after.lines().next().expect("a line"), function);
    }
    check_errors(|name, code| text.contains(&format!("export const {name}: i32 = {code};")));
}

fn check_errors(has: impl Fn(&str, i32) -> bool) {
    let errors = [
        ("UNKNOWN", Errno::Unknown),
        ("SCHEMA", Errno::Schema),
        ("FULL", Errno::Full),
        ("EMPTY", Errno::Empty),
        ("TOO_SHORT", Errno::TooShort),
        ("NOT_NOW", Errno::NotNow),
    ];
    for (name, errno) in errors {
        assert!(has(name, errno.code()), "{name} = {}", errno.code());
    }
}
