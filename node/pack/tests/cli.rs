//! The command as its users have it: a capsule from nothing to a signed file that runs, and what is
//! said when something is wrong. The capsule is prebuilt text, so that no compiler is needed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Doubles what it is sent, and says when it is negative.
const MODULE: &str = r#"(module
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 64 64 (pagesize 1))
    (data (i32.const 16) "negative")
    (func (export "message") (param i32 i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (if (f64.lt (f64.load (i32.const 0)) (f64.const 0))
            (then (call $log (i32.const 1) (i32.const 16) (i32.const 8))))
        (if (f64.eq (f64.load (i32.const 0)) (f64.const 13)) (then unreachable))
        (f64.store (i32.const 0) (f64.mul (f64.load (i32.const 0)) (f64.const 2)))
        (drop (call $publish (i32.const 0) (i32.const 0) (i32.const 8)))))"#;

const DESCRIPTION: &str = r#"[capsule]
name = "test/double"
version = "1.0.0"
language = "prebuilt"
sources = ["double.wat"]
[schemas]
number = "number.toml"
[[input]]
name = "in"
schema = "number"
[[output]]
name = "out"
schema = "number"
"#;

const SCHEMA: &str =
    "name = \"number\"\nversion = 1\n[[field]]\nname = \"value\"\ntype = \"f64\"\n";

/// A folder with the capsule, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("capmesh-cli-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let scratch = Self(path);
        scratch.write("capsule.toml", DESCRIPTION);
        scratch.write("number.toml", SCHEMA);
        scratch.write("double.wat", MODULE);
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &str, input: &str) -> Ran {
        use std::io::Write;
        let mut child = command(&self.0)
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that fails early does not read it all.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran(child.wait_with_output().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capmesh-capsule"));
    command.current_dir(folder).env_remove("CAPMESH_KEY");
    command
}

struct Ran(Output);

impl Ran {
    #[track_caller]
    fn succeeds(&self) -> String {
        let said = String::from_utf8_lossy(&self.0.stderr);
        assert!(self.0.status.success(), "{}: {said}", self.0.status);
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// What it says when it fails with this code.
    #[track_caller]
    fn fails(&self, code: i32) -> String {
        let said = String::from_utf8_lossy(&self.0.stderr).into_owned();
        assert_eq!(self.0.status.code(), Some(code), "{said}");
        said
    }
}

#[test]
fn from_nothing_to_a_signed_capsule_that_runs() {
    let scratch = Scratch::new("whole");
    scratch.run("keygen --name tester").succeeds();
    let said = scratch.run("build --key publisher.pem").succeeds();
    assert!(said.contains("double.capsule: "), "{said}");
    let said = scratch.run("inspect double.capsule --publisher publisher.ccs").succeeds();
    for expected in ["test/double 1.0.0", "input    0 in: number", "tester; verified"] {
        assert!(said.contains(expected), "{said}");
    }
    let events = "{\"input\": \"in\", \"value\": {\"value\": 4}}\n\n\
                  {\"wait\": 1.5, \"input\": \"in\", \"value\": {\"value\": -1}}\n";
    let expected = "{\"at\":0.0,\"output\":\"out\",\"value\":{\"value\":8.0}}\n\
                    {\"at\":1.5,\"log\":\"warning\",\"text\":\"negative\"}\n\
                    {\"at\":1.5,\"output\":\"out\",\"value\":{\"value\":-2.0}}\n";
    for what in [".", "capsule.toml", "double.capsule"] {
        let said = scratch.run_with(&format!("run {what}"), events).succeeds();
        assert_eq!(said, expected, "{what}");
    }
    let generated = scratch.run("run double.capsule --generate 5").succeeds();
    assert_eq!(generated.lines().filter(|line| line.contains("\"out\"")).count(), 5);
}

#[test]
fn the_same_source_and_key_give_the_same_bytes() {
    let scratch = Scratch::new("same");
    scratch.run("keygen").succeeds();
    scratch.run("build --key publisher.pem --out 1.capsule --module 1.wasm").succeeds();
    scratch.run("build --key publisher.pem --out 2.capsule").succeeds();
    let read = |name: &str| std::fs::read(scratch.0.join(name)).unwrap();
    assert_eq!(read("1.capsule"), read("2.capsule"));
    assert!(read("1.wasm").starts_with(b"\0asm"));
}

#[test]
fn another_publisher_can_sign() {
    let scratch = Scratch::new("sign");
    scratch.run("keygen one.pem").succeeds();
    scratch.run("keygen two.pem").succeeds();
    scratch.run("build --key one.pem").succeeds();
    scratch.run("sign double.capsule --key two.pem --out signed.capsule").succeeds();
    scratch.run("inspect signed.capsule --publisher two.ccs").succeeds();
    let said = scratch.run("inspect signed.capsule --publisher one.ccs").fails(1);
    assert!(said.contains("not that of"), "{said}");
}

#[test]
fn commands_name_the_capsules_ports() {
    let scratch = Scratch::new("command");
    scratch.run("keygen").succeeds();
    scratch.run("build --key publisher.pem").succeeds();
    let line = "command --out start.cbor start double.capsule --instance 7 \
                --from in=aaaaaaaaaaaac/8/0:every --to out=aaaaaaaaaaaac/9/0";
    scratch.run(line).succeeds();
    let bytes = std::fs::read(scratch.0.join("start.cbor")).unwrap();
    let command: capmesh_wire::control::Command<'_> = capmesh_wire::cbor::decode(&bytes).unwrap();
    let capmesh_wire::control::Command::Start(start) = command else { panic!("{command:?}") };
    let row = start.assignment.unwrap();
    assert_eq!(row.name.as_str(), "double");
    assert_eq!((row.inbound.len(), row.outbound.len()), (1, 1));
    let said = scratch.run(&line.replace("in=", "inn=")).fails(1);
    assert!(said.contains("no input `inn`"), "{said}");
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let scratch = Scratch::new("wrong");
    scratch
        .write("capsule.toml", &DESCRIPTION.replace("schema = \"number\"", "schema = \"nmber\""));
    let said = scratch.run("check").fails(1);
    assert!(said.contains("capsule.toml:10") && said.contains("number"), "{said}");

    scratch.write("capsule.toml", &format!("{DESCRIPTION}[[timer]]\nname = \"tick\"\n"));
    let said = scratch.run("check").fails(1);
    assert!(said.contains("[[timer]]") && said.contains("no handler `timer`"), "{said}");

    scratch.write("capsule.toml", DESCRIPTION);
    scratch.write("double.wat", &MODULE.replace("\"publish\"", "\"pubish\""));
    let said = scratch.run("check").fails(1);
    assert!(said.contains("`capmesh1.pubish` is not part of the contract"), "{said}");

    scratch.write("double.wat", MODULE);
    let said = scratch.run("check").succeeds();
    assert!(said.contains("a node would take it"), "{said}");
}

#[test]
fn a_trap_while_it_is_measured_or_run_is_an_error_with_its_log() {
    let scratch = Scratch::new("trap");
    let line = "{\"input\": \"in\", \"value\": {\"value\": 13}}\n";
    let said = scratch.run_with("run", line).fails(1);
    assert!(said.contains("the handler `message` executed `unreachable`"), "{said}");
    scratch.write("samples.jsonl", line);
    let said = scratch.run("check").fails(1);
    assert!(said.contains("measuring run") && said.contains("`message`"), "{said}");
    scratch.write("samples.jsonl", "{\"input\": \"out\"}\n");
    let said = scratch.run("check").fails(1);
    assert!(said.contains("samples.jsonl: line 1: there is no input `out`"), "{said}");
}

#[test]
fn a_lying_or_broken_file_is_found_out() {
    let scratch = Scratch::new("broken");
    scratch.run("keygen").succeeds();
    scratch.run("build --key publisher.pem").succeeds();
    let path = scratch.0.join("double.capsule");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let said = scratch.run("inspect double.capsule").fails(1);
    assert!(said.contains("double.capsule: piece"), "{said}");
    bytes.truncate(100);
    std::fs::write(&path, &bytes).unwrap();
    let said = scratch.run("inspect double.capsule").fails(1);
    assert!(said.contains("ends after 100 bytes"), "{said}");
}

#[test]
fn what_the_machine_lacks_has_a_code_of_its_own() {
    let scratch = Scratch::new("machine");
    let said = scratch.run("build nowhere").fails(3);
    assert!(said.contains("nowhere") && said.contains("capsule.toml"), "{said}");
    let said = scratch.run("build --key missing.pem").fails(3);
    assert!(said.contains("missing.pem"), "{said}");
    scratch.run("keygen").succeeds();
    let said = scratch.run("keygen").fails(3);
    assert!(said.contains("not overwritten"), "{said}");
    scratch.write("other.pem", "-----BEGIN PUBLIC KEY-----");
    let said = scratch.run("build --key other.pem").fails(1);
    assert!(said.contains("it is a public key"), "{said}");
    scratch.run("frobnicate").fails(2);
}

#[test]
fn a_new_capsule_has_what_it_needs() {
    let scratch = Scratch::new("new");
    let said = scratch.run("new too-warm").succeeds();
    assert!(said.contains("next: cd too-warm"), "{said}");
    let description =
        capmesh_capsule::assemble::describe(&scratch.0.join("too-warm")).expect("it has no fault");
    assert_eq!(description.name, "my/too-warm");
    let source = std::fs::read_to_string(scratch.0.join("too-warm/src/lib.rs")).unwrap();
    assert!(source.contains("pub struct TooWarm"), "{source}");
    assert!(!source.contains("{{"), "nothing is left to fill in");
    // The events that come with it are events of it.
    let events = std::fs::read_to_string(scratch.0.join("too-warm/events.jsonl")).unwrap();
    capmesh_capsule::script::schedule(&description, &events).unwrap();
    for language in ["c", "assemblyscript"] {
        scratch.run(&format!("new --language {language} in-{language}")).succeeds();
        let path = scratch.0.join(format!("in-{language}"));
        let description = capmesh_capsule::assemble::describe(&path).expect("it has no fault");
        assert!(description.generated().is_some(), "{language}");
    }
    let said = scratch.run("new too-warm").fails(1);
    assert!(said.contains("is there already"), "{said}");
    let said = scratch.run("new Warm").fails(1);
    assert!(said.contains("small letters"), "{said}");
}
