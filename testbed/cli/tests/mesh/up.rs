//! `capmesh up` as its users meet it: values, refusals, a move, a node that is killed, a restart, an end.

use crate::machine::{CAPMESH, Place};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take. Only a fault takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

struct Up {
    process: Child,
    page: String,
}

impl Up {
    fn start(place: &Place, json: bool) -> Self {
        let mut process = Command::new(CAPMESH)
            .args(json.then_some("--json"))
            .args(["up", "--http", "0", "--mqtt", "0", "--websocket", "0", "--oci", "0"])
            .args(["--coap", "0", "--state"])
            .arg(place.join("up"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let page = loop {
            let line = lines.next().expect("it says where to look").unwrap();
            if json {
                let at: Value = serde_json::from_str(&line).unwrap();
                break at["page"].as_str().unwrap().to_owned();
            }
            if let Some(page) = line.trim().strip_prefix("page") {
                break page.trim().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, page }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CAPMESH);
        command.args(["--gateway", &self.page]).args(arguments);
        command
    }

    /// Runs a command; what it prints, or how it fails.
    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|error| panic!("capmesh {arguments:?}: {error}"))
    }

    fn values(&self, topic: &str, count: &str) -> Vec<Value> {
        let text = self.run(&["--json", "tap", topic, "-n", count]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Where the capsule of this name runs, if it does.
    fn place_of(&self, name: &str) -> Option<String> {
        let text = self.run(&["--json", "ps", "--pipeline", "machine-health"]);
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let row = rows.into_iter().find(|row| row["name"] == name)?;
        (row["state"] == "running").then(|| row["node"].as_str().unwrap().to_owned())
    }

    fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of a node of this mesh.
fn node_process(place: &Place, name: &str) -> Option<String> {
    let state = place.join("up").join("nodes").join(name);
    let state = state.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_it = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == state.as_bytes())
    };
    let found = processes.into_iter().find(is_it)?;
    Some(found.file_name().into_string().unwrap())
}

#[test]
fn a_mesh_comes_up_moves_recovers_and_comes_again() {
    let place = Place::new("up");
    let up = Up::start(&place, false);
    assert_eq!(up.values("machine-health/cpu/load", "1").len(), 1);

    // What cannot be is refused, and why.
    let broken = place.join("broken.toml");
    let text = include_str!("../../../../examples/pipelines/machine-health.toml");
    std::fs::write(&broken, text.replace("cpu-window.load", "cpu-window.laod")).unwrap();
    let refused = up.try_run(&["deploy", broken.to_str().unwrap()]).unwrap_err();
    assert!(refused.contains("laod") && refused.contains("load"), "{refused}");
    let refused = up.try_run(&["migrate", "machine-health/cpu", "--to", "kitchen"]).unwrap_err();
    assert!(refused.contains("sensor"), "{refused}");

    // A capsule moves with its state: the numbers of its stream go on.
    up.wait("cpu-window runs", |up| up.place_of("cpu-window").is_some());
    let before = up.place_of("cpu-window").unwrap();
    let to = if before == "street" { "garage" } else { "street" };
    up.run(&["migrate", "machine-health/cpu-window", "--to", to]);
    assert_eq!(up.place_of("cpu-window").as_deref(), Some(to));
    let values = up.values("machine-health/cpu-window/summary", "3");
    let seq: Vec<_> = values.iter().map(|value| value["seq"].as_u64().unwrap()).collect();
    assert!(seq.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seq:?}");

    // A node is killed: what may go on elsewhere does, and the node comes back.
    let pid = node_process(&place, to).expect("the node runs");
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let elsewhere = |up: &Up| up.place_of("cpu-window").is_some_and(|node| node != to);
    up.wait("cpu-window runs elsewhere", elsewhere);
    assert!(!up.values("machine-health/cpu-window/summary", "1").is_empty());
    up.wait("the node is back", |_| node_process(&place, to).is_some_and(|now| now != pid));

    // Killed without a word, everything goes on from what was kept.
    assert_eq!(up.end("KILL"), None);
    let begun = Instant::now();
    while node_process(&place, "hall").is_some() {
        assert!(begun.elapsed() < PATIENCE, "nodes outlive the one that started them");
        std::thread::sleep(Duration::from_millis(100));
    }
    let up = Up::start(&place, true);
    up.wait("all is as it was", |up| up.place_of("cpu-window").is_some());
    assert!(!up.values("machine-health/cpu/load", "1").is_empty());
    // Who listens hears that it ends.
    let mut tap = up.command(&["tap"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut values = BufReader::new(tap.stdout.take().unwrap()).lines();
    assert!(values.next().unwrap().unwrap().starts_with("machine-health/"));
    assert_eq!(up.end("INT"), Some(0));
    values.for_each(drop);
    assert_eq!(tap.wait().unwrap().code(), Some(3));
    assert_eq!(node_process(&place, "hall"), None);
}

#[test]
fn rows_of_a_file_are_replayed_as_a_sensor() {
    let place = Place::new("replay");
    let rows = place.join("rows.csv");
    // As somebody else records them: another name of a unit, numbers as texts.
    let row = |number: u32| {
        let values = [("temperature", "21.5"), ("humidity", "40"), ("dust", "300")];
        let values =
            values.map(|(name, value)| format!(r#"{{"u":"x","n":"{name}","v":"{value}"}}"#));
        format!(
            "1422748800000,{{\"e\":[{{\"n\":\"source\",\"sv\":\"ci4lr75sl000802ypo4qrcjda{number}\"}},\
             {{\"n\":\"longitude\",\"v\":\"6\"}},{{\"n\":\"latitude\",\"v\":\"46\"}},{},\
             {{\"n\":\"airquality_raw\",\"v\":\"20\"}}],\"bt\":1}}\n",
            values.join(",")
        )
    };
    std::fs::write(&rows, (10..40).map(row).collect::<String>()).unwrap();
    let output = Command::new(CAPMESH)
        .args(["up", "--check", "--pipeline", "city-air", "--http", "0", "--mqtt", "0"])
        .args(["--websocket", "0", "--oci", "0", "--coap", "0", "--state"])
        .arg(place.join("up"))
        .arg("--replay")
        .arg(&rows)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let value = said.lines().find(|line| line.contains("first value: city-air/")).unwrap();
    assert!(value.contains("21.5") && value.contains("40"), "{value}");
}
