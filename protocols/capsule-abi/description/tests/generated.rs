//! Generated code: what is committed is current, and compilers accept what can come out.

use capmesh_description::Description;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn abi() -> PathBuf {
    root().join("protocols/capsule-abi")
}

/// Every capsule.toml below a folder.
fn descriptions(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    entries.map(|path| path.join("capsule.toml")).filter(|path| path.is_file()).collect()
}

#[test]
fn what_is_committed_is_current() {
    let mut found = 0;
    for folder in [root().join("examples/capsules"), abi().join("conformance")] {
        for path in descriptions(&folder) {
            let description = Description::read(&path).unwrap();
            let Some((file, text)) = description.generated() else { continue };
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            let advice = "cargo run -p capmesh-description --example generate";
            assert!(committed == text, "{}: {advice} {}", file.display(), path.display());
            found += 1;
        }
    }
    assert!(found >= 2, "there is one in C and one in AssemblyScript at least");
}

/// All types, optional and not, names that are keywords, defaults of all kinds.
const EVERYTHING: &str = r#"
[capsule]
name = "tests/everything"
version = "1"
[schemas]
all = "all.toml"
[[input]]
name = "in"
schema = "all"
[[output]]
name = "default"
schema = "all"
[[sensor]]
name = "air"
schema = "all"
[[actuator]]
name = "lamp"
[[source]]
name = "2nd-button"
[[timer]]
name = "tick"
[[service]]
name = "get"
response = "all"
[[peer]]
name = "store"
services = [{ name = "put", request = "all" }, { name = "get" }]
"#;

fn everything(folder: &Path) -> Description {
    let mut capsule = EVERYTHING.to_owned();
    let mut all = "name = \"all\"\nversion = 1\ndoc = \"Every */ type.\"\n".to_owned();
    let types = [
        "bool", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "text", "bytes",
    ];
    for (index, ty) in types.iter().enumerate() {
        let max = if index > 10 { "max = 5\n" } else { "" };
        // Keywords of C and of AssemblyScript among the names.
        let name = ["int", "default", "this", "class", "new", "2nd", "while", "type"]
            .get(index)
            .map_or_else(|| format!("field-{index}"), |name| (*name).to_owned());
        let optional = index % 3 == 0;
        all += &format!(
            "[[field]]\nname = \"{name}\"\ntype = \"{ty}\"\n{max}optional = {optional}\nunit = \"Cel\"\n"
        );
        if ["u64", "i64", "bytes"].contains(ty) {
            continue;
        }
        let default = match *ty {
            "bool" => "true",
            "text" => "\"né\\\"\"",
            "f32" | "f64" => "-1e-30",
            "i32" => "-7",
            _ => "7",
        };
        for (kind, default) in [("a", format!("default = {default}\n")), ("b", String::new())] {
            capsule +=
                &format!("[[config]]\nname = \"{ty}-{kind}\"\ntype = \"{ty}\"\n{max}{default}");
            if index > 3 {
                break;
            }
        }
    }
    std::fs::create_dir_all(folder).expect("a folder for tests");
    std::fs::write(folder.join("all.toml"), all).expect("it can be written");
    std::fs::write(folder.join("capsule.toml"), capsule).expect("it can be written");
    Description::read(&folder.join("capsule.toml")).expect("a legal description")
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("the compiler is there: `cargo xtask setup`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {said}");
}

/// The header's own assertions say that the structs are the contract's.
#[test]
fn clang_takes_what_is_made_for_c() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    let description = everything(&folder);
    std::fs::write(folder.join("capsule.h"), description.c_header()).unwrap();
    let source = "#include \"capsule.h\"\n\
        void capmesh_on_message(uint32_t input, uint32_t len) {\n  (void)input; (void)len;\n  \
        all_t all = read_all();\n  char text[5];\n  all.int_ = config_bool_a() && config_bool_b();\n  \
        all.field_11.len = (uint8_t)config_text_a(text);\n  publish_default(&all);\n  \
        sense_air(&all);\n  ask_store_put(&all);\n  ask_store_get();\n}\n";
    std::fs::write(folder.join("all.c"), source).unwrap();
    let flags =
        ["--target=wasm32", "-std=c11", "-ffreestanding", "-Wall", "-Wextra", "-fsyntax-only"];
    succeed(
        Command::new("clang").args(flags).arg("-I").arg(abi().join("c")).arg(folder.join("all.c")),
    );
}

#[test]
fn the_compiler_takes_what_is_made_for_assemblyscript() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("assemblyscript");
    let description = everything(&folder);
    std::fs::write(folder.join("capsule.ts"), description.assemblyscript()).unwrap();
    // As an entry everything in it is exported, and so compiled.
    let package = abi().join("assemblyscript");
    let compiler = package.join("node_modules/.bin/asc");
    assert!(compiler.exists(), "the AssemblyScript compiler is not there; run `cargo xtask setup`");
    // Classes are no exports of a module, it warns.
    let options = ["--runtime", "stub", "--use", "abort=", "--noEmit", "--disableWarning", "235"];
    succeed(
        Command::new("node")
            .arg(compiler)
            .arg(folder.join("capsule.ts"))
            .arg("--path")
            .arg(package)
            .args(options),
    );
}
