//! How the command fails: for people and for programs, with what to do, and with which exit code.

use crate::machine::{CAPMESH, Place, command};
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn run(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::new(CAPMESH);
    command.current_dir(place.join("")).args(arguments).output().unwrap()
}

/// How a command fails that is asked for JSON: what it ends with, and what it says.
fn fails(place: &Place, arguments: &[&str]) -> (i32, Value) {
    let output = run(place, &[&["--json"], arguments].concat());
    assert!(output.stdout.is_empty(), "{arguments:?}: results are for those that succeed");
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap_or_default();
    let error: Value =
        serde_json::from_str(last).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
    (output.status.code().unwrap(), error["error"].clone())
}

#[test]
fn failures_have_a_code_and_say_what_to_do() {
    let place = Place::new("failures");
    std::fs::write(place.join("file"), "no directory").unwrap();
    let nowhere = ["--gateway", "http://127.0.0.1:1"];
    for (arguments, exit, code, says) in [
        (&[&nowhere[..], &["ps"]].concat()[..], 3, "no-gateway", "capmesh up"),
        (&[&nowhere[..], &["node", "drain", "attic"]].concat(), 3, "no-gateway", "capmesh up"),
        (&["--gateway", "https://here", "plan"], 2, "invalid-url", "https://here"),
        (&["nonsense"], 2, "usage", "nonsense"),
        (&["migrate", "a/b"], 2, "usage", "--to"),
        (&["deploy", "city-ear"], 3, "machine", "city-air"),
        (&["deploy", "."], 3, "machine", "directory"),
        (&["capsule", "inspect", "none.capsule"], 3, "machine", "none.capsule"),
        (&["capsule", "inspect", "file"], 1, "invalid-capsule", "file"),
        (&["capsule", "tags", "a", "--registry", "127.0.0.1:1"], 3, "no-registry", "--registry"),
        (&["site", "ls"], 1, "failed", "site init"),
        (&["registry"], 1, "failed", "site add"),
        (&["gateway"], 2, "configuration", "site init"),
        (&["gateway", "--registry", "here"], 2, "configuration", "`registry`"),
        (&["node", "run", "--state", "file"], 1, "not-started", "not a directory"),
        (&["up", "--state", "file"], 1, "failed", "not a directory"),
        (&["up", "--broker", "here"], 2, "usage", "mqtt://HOST:PORT"),
        (&["up", "--replay", "none.csv"], 1, "failed", "none.csv"),
    ] {
        let (ended, error) = fails(&place, arguments);
        assert_eq!((ended, error["code"].as_str()), (exit, Some(code)), "{arguments:?}: {error}");
        assert!(error.to_string().contains(says), "{arguments:?}: {error}");
        // People are told the same.
        let output = run(&place, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(says) && output.status.code() == Some(exit), "{arguments:?}: {said}");
    }
}

#[test]
fn up_says_which_port_is_taken_and_which_directory_is_in_use() {
    let place = Place::new("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--oci", "--http", "--mqtt", "--websocket"] {
        let mut arguments = vec!["up", "--state", "up"];
        for other in ["--oci", "--http", "--mqtt", "--websocket", "--coap"] {
            arguments.extend([other, if other == flag { &port } else { "0" }]);
        }
        let (exit, error) = fails(&place, &arguments);
        assert_eq!((exit, error["code"].as_str()), (1, Some("conflict")), "{flag}: {error}");
        let help = error["help"].as_str().unwrap();
        assert!(help.contains(&port) && help.contains(&format!("{flag} PORT")), "{help}");
    }
    let lock = File::create(place.join("up").join("lock")).unwrap();
    lock.lock().unwrap();
    let (_, error) = fails(&place, &["up", "--state", "up"]);
    assert!(error["help"].as_str().unwrap().contains("--state DIR"), "{error}");
}

#[test]
fn registries_stand_in_the_configuration_by_their_names() {
    let place = Place::new("registries");
    command(&place, &["site", "init"]);
    command(&place, &["site", "add", "gateway", "--role", "gateway"]);
    command(&place, &["site", "add", "store", "--role", "registry"]);
    std::fs::write(place.join("gateway.toml"), "[registries]\nshop = \"127.0.0.1:1\"\n").unwrap();
    let arguments = ["--site", "site", "gateway", "--config", "gateway.toml"];
    let (exit, error) = fails(&place, &arguments);
    assert_eq!((exit, error["code"].as_str()), (2, Some("configuration")), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("registries.shop") && message.contains("store"), "{message}");
}

#[test]
fn results_of_making_capsules_are_json_for_programs() {
    let place = Place::new("made");
    let made = |arguments: &[&str]| {
        let text = command(&place, &[&["--json"], arguments].concat());
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let path = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let key = made(&["capsule", "keygen", &path("own.pem")]);
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/capsules/dist");
    let file = dist.join("cpu-load.capsule").to_str().unwrap().to_owned();
    let own = path("own.capsule");
    let signed = made(&["capsule", "sign", &file, "--key", &path("own.pem"), "-o", &own]);
    assert_eq!(signed["publisher"], key["id"]);
    let seen = made(&["capsule", "inspect", &own, "--publisher", &path("own.ccs")]);
    assert_eq!((&seen["digest"], &seen["publisher"]), (&signed["digest"], &key["id"]));
    assert_eq!((&seen["verified"], &seen["outputs"][0]["name"]), (&true.into(), &"load".into()));
    assert!(seen["needs"]["ram"].as_u64().unwrap() > 1_000, "{seen}");
}

#[test]
fn bash_completes_commands() {
    let script = r#"
        source <("$0" completions bash)
        COMP_WORDS=(capmesh node dr) COMP_CWORD=2
        _capmesh capmesh dr node
        echo "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash").args(["-c", script, CAPMESH]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "drain");
}
