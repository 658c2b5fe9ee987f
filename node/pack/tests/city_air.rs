//! The example pipeline `city-air` over its recording, capsule by capsule in virtual time, against the
//! same computed in plain Rust.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "as the capsules do")]

use capmesh_capsule::codec::{from_record, to_record};
use capmesh_capsule::module::{self, Hints};
use capmesh_capsule::rehearsal::Rehearsal;
use capmesh_capsule::{reading, seal};
use capmesh_description::document::{Collector, File, Value as Toml};
use capmesh_description::{Description, Schema, Value};
use capmesh_runtime::{Effect, Event};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// A capsule of the pipeline, running.
struct Player {
    description: Description,
    rehearsal: Rehearsal,
}

/// Where a wire begins and ends: a capsule and the name of its port.
type Wire = ((String, String), (String, String));

/// The pipeline, on one machine whose clock is ours.
struct Stage {
    players: BTreeMap<String, Player>,
    wires: Vec<Wire>,
    /// Messages on their way: the capsule, the number of the output, the record.
    queue: VecDeque<(String, u32, Vec<u8>)>,
    /// What has come out of each output.
    heard: BTreeMap<(String, String), Vec<Json>>,
}

fn number(value: &Toml<'_>) -> f64 {
    let text = value.as_integer().map(|i| i.as_str()).or(value.as_float().map(|f| f.as_str()));
    text.unwrap().parse().unwrap()
}

/// Starts a committed capsule with the settings that the pipeline gives it.
fn player(uses: &str, config: &BTreeMap<String, Value>) -> Player {
    let name = uses.split_once(':').unwrap().0.strip_prefix("examples/").unwrap();
    let path = examples().join(format!("capsules/dist/{name}.capsule"));
    let sealed = seal::open(&std::fs::read(&path).unwrap()).unwrap();
    let description = reading::description(&sealed.manifest().unwrap(), &path);
    let packed = module::pack(sealed.module(), Hints::default()).unwrap();
    let rehearsal = Rehearsal::alone(&packed, &description, config).unwrap();
    Player { description, rehearsal }
}

fn end(text: &str) -> (String, String) {
    let (capsule, port) = text.split_once('.').unwrap();
    (capsule.to_owned(), port.to_owned())
}

impl Stage {
    fn open(path: &Path) -> Self {
        let collector = Collector::default();
        let file = File::open(path, &collector).unwrap();
        let root = file.toml().unwrap();
        let tables = |key: &str| {
            let items = root.get_ref().get(key).unwrap().get_ref().as_array().unwrap();
            items.iter().map(|item| item.get_ref().as_table().unwrap())
        };
        let mut players = BTreeMap::new();
        for table in tables("capsule") {
            let text = |key: &str| table.get(key).unwrap().get_ref().as_str().unwrap();
            let config = table.get("config").map(|config| config.get_ref().as_table().unwrap());
            let setting = |(name, value): (&capmesh_description::document::Spanned<_>, _)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                let value: &capmesh_description::document::Spanned<Toml<'_>> = value;
                (name.to_string(), Value::Number(number(value.get_ref())))
            };
            let config = config.into_iter().flatten().map(setting).collect();
            players.insert(text("name").to_owned(), player(text("use"), &config));
        }
        let mut wires = Vec::new();
        for table in tables("wire") {
            let from = table.get("from").unwrap().get_ref().as_str().unwrap();
            let to = table.get("to").unwrap().get_ref();
            let many = to.as_array().map(|to| to.iter().map(|to| to.get_ref().as_str().unwrap()));
            let to: Vec<&str> = many.map_or_else(|| vec![to.as_str().unwrap()], Iterator::collect);
            wires.extend(to.into_iter().map(|to| (end(from), end(to))));
        }
        let (queue, heard) = (VecDeque::new(), BTreeMap::new());
        let mut stage = Self { players, wires, queue, heard };
        let names: Vec<String> = stage.players.keys().cloned().collect();
        names.iter().for_each(|name| stage.handle(name, &Event::Start));
        stage
    }

    fn handle(&mut self, name: &str, event: &Event<'_>) {
        let player = self.players.get_mut(name).unwrap();
        let queue = &mut self.queue;
        let mut take = |_, effect: Effect<'_>| {
            if let Effect::Publish { output, record } = effect {
                queue.push_back((name.to_owned(), output, record.to_vec()));
            }
        };
        player.rehearsal.handle(event, &mut take).unwrap();
    }

    /// Lets time pass, in microseconds since the start.
    fn pass(&mut self, then: u64) {
        let names: Vec<String> = self.players.keys().cloned().collect();
        for name in names {
            let player = self.players.get_mut(&name).unwrap();
            let queue = &mut self.queue;
            let mut take = |_, effect: Effect<'_>| {
                if let Effect::Publish { output, record } = effect {
                    queue.push_back((name.clone(), output, record.to_vec()));
                }
            };
            player.rehearsal.pass(then, 100, &mut take).unwrap();
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some((name, output, record)) = self.queue.pop_front() {
            let description = &self.players[&name].description;
            let port = &description.outputs[usize::try_from(output).unwrap()];
            let json = from_record(&description.schemas[port.schema], &record).unwrap();
            let from = (name, port.name.clone());
            self.heard.entry(from.clone()).or_default().push(json);
            let to: Vec<_> = self.wires.iter().filter(|(a, _)| *a == from).cloned().collect();
            for (_, (capsule, input)) in to {
                let inputs = &self.players[&capsule].description.inputs;
                let place = inputs.iter().position(|port| port.name == input).unwrap();
                let input = u32::try_from(place).unwrap();
                self.handle(&capsule, &Event::Message { input, record: &record });
            }
        }
    }

    fn heard(&self, capsule: &str, output: &str) -> &[Json] {
        &self.heard[&(capsule.to_owned(), output.to_owned())]
    }
}

/// A row of the recording, as somebody reads it who knows nothing of capsules.
struct Row {
    source: String,
    values: BTreeMap<String, f64>,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(examples().join("pipelines/data/city-air.csv")).unwrap();
    let row = |line: &str| {
        let json: Json = serde_json::from_str(line.split_once(',').unwrap().1).unwrap();
        let mut row = Row { source: String::new(), values: BTreeMap::new() };
        for element in json["e"].as_array().unwrap() {
            let name = element["n"].as_str().unwrap().to_owned();
            match element["sv"].as_str() {
                Some(text) => row.source = text.to_owned(),
                None => {
                    let value = element["v"].as_str().unwrap().parse().unwrap();
                    row.values.insert(name, value);
                }
            }
        }
        row
    };
    text.lines().map(row).collect()
}

/// What is to come out for one row that goes through.
#[derive(Debug, PartialEq)]
struct Expected {
    row: usize,
    sensor: String,
    temperature: f64,
    humidity: f64,
    level: &'static str,
}

/// ETL in a loop: range, known sensors, interpolation, level.
fn expected(rows: &[Row]) -> Vec<Expected> {
    let mut known = BTreeSet::new();
    let mut before: BTreeMap<(String, &str), Vec<f64>> = BTreeMap::new();
    let mut all = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let sensor = row.source[..25].to_owned();
        if known.insert(sensor.clone()) {
            continue;
        }
        let mut whole = |name: &'static str, least: f64, most: f64| {
            let past = before.entry((sensor.clone(), name)).or_default();
            let value = row.values.get(name).filter(|value| (least..=most).contains(*value));
            if let Some(value) = value {
                past.push(*value);
                return Some(*value);
            }
            let last = &past[past.len().saturating_sub(2)..];
            (!last.is_empty()).then(|| last.iter().sum::<f64>() / f64::from(last.len() as u32))
        };
        let temperature = whole("temperature", -30.0, 50.0);
        let humidity = whole("humidity", 0.0, 100.0);
        let level = match row.values["dust"] {
            dust if dust < 0.0 => "unknown",
            dust if dust < 500.0 => "good",
            dust if dust < 2000.0 => "fair",
            _ => "poor",
        };
        if let Some((temperature, humidity)) = temperature.zip(humidity) {
            all.push(Expected { row: number, sensor, temperature, humidity, level });
        }
    }
    all
}

fn close(found: &Json, expected: f64, what: &str) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 2e-3, "{what}: {found} instead of {expected}");
}

#[test]
fn the_pipeline_gives_what_a_loop_over_the_file_gives() {
    let rows = rows();
    let mut stage = Stage::open(&examples().join("pipelines/city-air.toml"));
    let schema = Schema::read(&examples().join("pipelines/data/air-quality.toml")).unwrap();
    for (number, row) in rows.iter().enumerate() {
        let second = number as u64 * 1_000_000;
        stage.pass(second + 250_000);
        let value = |name: &str| row.values.get(name).map_or(Json::Null, |v| Json::from(*v as f32));
        let json = serde_json::json!({
            "source": row.source,
            "longitude": row.values["longitude"],
            "latitude": row.values["latitude"],
            "temperature": value("temperature"),
            "humidity": value("humidity"),
            "light": value("light"),
            "dust": value("dust"),
            "airquality-raw": value("airquality_raw"),
        });
        let record = to_record(&schema, &json).unwrap();
        stage.players.get_mut("parse").unwrap().rehearsal.sample(0, &record);
        // The capsule looks twice a second and takes each row once.
        stage.pass(second + 500_000);
        stage.pass(second + 1_000_000);
    }
    let expected = expected(&rows);
    // The recording has all faults: some rows do not come through, most do.
    assert!(expected.len() > 300 && expected.len() < rows.len(), "{}", expected.len());

    let annotated = stage.heard("annotate", "annotated");
    assert_eq!(annotated.len(), expected.len());
    let (mut last, mut estimate): (VecDeque<f64>, Option<(f64, f64)>) = Default::default();
    for (n, expected) in expected.iter().enumerate() {
        let found = &annotated[n];
        let what = format!("row {}", expected.row);
        assert_eq!(found["row"].as_u64().unwrap(), expected.row as u64);
        assert_eq!(found["level"], expected.level, "{what}");
        close(&found["temperature"], expected.temperature, &what);
        close(&found["humidity"], expected.humidity, &what);
        let (b, c, t) = (17.62, 243.12, expected.temperature);
        let gamma = (expected.humidity / 100.0).ln() + b * t / (c + t);
        close(&found["dew-point"], c * gamma / (b - gamma), &what);
        // STATS: the mean of the last eight, and a Kalman filter with these deviations.
        last.push_back(expected.temperature);
        if last.len() > 8 {
            last.pop_front();
        }
        let mean = last.iter().sum::<f64>() / f64::from(last.len() as u32);
        close(&stage.heard("average", "mean")[n]["value"], mean, &what);
        let (drift, noise) = (0.5_f64.powi(2), 2.0_f64.powi(2));
        let (value, variance) = match estimate {
            None => (expected.temperature, noise),
            Some((value, variance)) => {
                let variance = variance + drift;
                let gain = variance / (variance + noise);
                (value + gain * (expected.temperature - value), variance * (1.0 - gain))
            }
        };
        estimate = Some((value, variance));
        close(&stage.heard("kalman", "estimate")[n]["value"], value, &what);
        close(&stage.heard("kalman", "estimate")[n]["deviation"], variance.sqrt(), &what);
    }
    // Each minute the number of different sensors; an estimate, but that of so few is good.
    let counts = stage.heard("sensors", "distinct");
    assert_eq!(counts.len(), rows.len() / 60);
    for (minute, count) in counts.iter().enumerate() {
        let seconds = minute * 60..(minute + 1) * 60;
        let within = expected.iter().filter(|e| seconds.contains(&e.row));
        let exact = within.map(|e| &e.sensor).collect::<BTreeSet<_>>().len() as u64;
        let found = count["count"].as_u64().unwrap();
        assert!(found.abs_diff(exact) <= 2, "minute {minute}: {found} instead of {exact}");
    }
}
