use super::*;
use capmesh_wire::Digest;
use capmesh_wire::cbor::{decode, encode};
use capmesh_wire::manifest::{Capsule, Needs as WireNeeds};
use std::fs;

/// A folder of its own for a test's files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("capmesh-description-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("temperature.toml", include_str!("example/temperature.toml"));
        folder.write("alert.toml", include_str!("example/alert.toml"));
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The faults of a description, with the folder's name left out.
    fn faults(&self, text: &str) -> Vec<String> {
        let path = self.write("capsule.toml", text);
        let faults = match Description::read(&path) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.as_slice().iter().map(ToString::to_string).collect(),
        };
        let folder = format!("{}/", self.0.display());
        faults.iter().map(|fault: &String| fault.replace(&folder, "")).collect()
    }

    /// The only fault of a description that is a good one but for `more`.
    fn fault(&self, more: &str) -> String {
        let head = "[capsule]\nname = \"a\"\nversion = \"1\"\n[schemas]\ntemperature = \"temperature.toml\"\n";
        let faults = self.faults(&format!("{head}{more}"));
        assert_eq!(faults.len(), 1, "{faults:#?}");
        faults.into_iter().next().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn example() -> Description {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/example/capsule.toml");
    Description::read(&path).unwrap()
}

const NEEDS: WireNeeds = WireNeeds {
    memory: 2048,
    ram: 6000,
    fuel_per_second: 1000,
    fuel_per_handler: 10_000,
    outbox_bytes: 64,
    outbox_entries: 4,
    timers: 1,
    table_elements: 0,
};

#[test]
fn the_example_is_read_as_it_stands() {
    let capsule = example();
    assert_eq!((capsule.name.as_str(), capsule.version.as_str()), ("examples/rule-alert", "1.0.0"));
    assert_eq!((capsule.sequence, capsule.chunk_log2), (3, 8));
    assert!(matches!(&capsule.source, Source::Rust(folder) if folder.ends_with("src/example")));
    let aliases: Vec<&str> = capsule.schemas.iter().map(|s| s.alias.as_str()).collect();
    assert_eq!(aliases, ["temperature", "alert"], "in the order in which they are written");
    let [value, station] = capsule.schemas[0].fields.as_slice() else { panic!() };
    assert_eq!((value.ty, value.unit, value.optional), (FieldType::F32, Unit::Celsius, false));
    assert_eq!((station.ty, station.optional), (FieldType::Text(12), true));
    assert_eq!((capsule.inputs[0].schema, capsule.inputs[0].rate), (0, 10.0));
    assert_eq!((capsule.outputs[0].schema, capsule.sensors[0].schema), (1, 0));
    assert_eq!(capsule.actuators[0].unit, Unit::Ratio);
    assert_eq!(
        (capsule.sources[0].name.as_str(), capsule.timers[0].name.as_str()),
        ("button", "tick")
    );
    assert_eq!((capsule.services[0].request, capsule.services[0].response), (Some(0), Some(1)));
    assert_eq!(capsule.peers[0].services[0].request, Some(1));
    assert_eq!(capsule.config[0].default, Some(Value::Number(30.0)));
    assert!(capsule.config[0].field.optional);
    assert_eq!(capsule.state, Some(State { version: 2, oldest: 1 }));
    assert_eq!((capsule.needs.stack, capsule.needs.outbox_entries), (Some(1024), Some(4)));
    assert_eq!(capsule.files().count(), 3);
}

#[test]
fn a_manifest_says_the_same() {
    let description = example();
    let mut buf = [0; 2048];
    let len = description
        .with_capsule(1, Digest::of(b"top"), NEEDS, |capsule| encode(capsule, &mut buf).unwrap())
        .unwrap();
    let capsule: Capsule<'_> = decode(&buf[..len]).unwrap();
    assert_eq!((capsule.abi, capsule.chunk_log2, capsule.needs), (1, 8, NEEDS));
    let input = capsule.inputs.get(0).unwrap();
    let schema = capsule.schema(input.schema).unwrap();
    assert_eq!((input.name.as_str(), schema.name().as_str()), ("temperature", "temperature"));
    assert_eq!(schema.record_len(), 20, "a float, a presence byte, a count, 12 bytes, padding");
    let id = description.schemas[0].with_wire(|schema| schema.id()).unwrap();
    assert_eq!(schema.id(), id);
    assert!(capsule.config.get(0).unwrap().optional);
    assert!(capsule.state.unwrap().accepts(1));
    assert_eq!(capsule.peers.get(0).unwrap().services.get(0).unwrap().request, Some(1));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let folder = Folder::new("faults");
    let cases = [
        (
            "[[imput]]",
            "capsule.toml:6:3: a capsule's description has no `imput`; did you mean `input`?",
        ),
        (
            "[[input]]\nname = \"in\"\nschema = \"temprature\"",
            "capsule.toml:8:10: `temprature` is not what `[schemas]` calls a schema; did you mean `temperature`?",
        ),
        (
            "[[input]]\nname = \"In\"\nschema = \"temperature\"",
            "capsule.toml:7:8: `In` is not a name: 1 to 23 of `a-z`, `0-9` and, between them, `-`: the character at byte 0 is none of a-z, 0-9 and (within a name) the hyphen",
        ),
        (
            "[[input]]\nschema = \"temperature\"",
            "capsule.toml:6:1: `[[input]]` lacks `name`: a name: 1 to 23 of `a-z`, `0-9` and, between them, `-`",
        ),
        (
            "[input]\nname = \"in\"",
            "capsule.toml:6:1: `input` of a capsule's description is to be a list: write `[[input]]`, once for each, not this table",
        ),
        (
            "[[output]]\nname = \"a\"\nschema = \"temperature\"\n[[output]]\nname = \"a\"\nschema = \"temperature\"",
            "capsule.toml:10:8: there is another `[[output]]` named `a`",
        ),
        (
            "[[input]]\nname = \"in\"\nschema = \"temperature\"\nrate = 0",
            "capsule.toml:9:8: `rate` is to be messages a second, more than 0",
        ),
        (
            "[[config]]\nname = \"limit\"\ntype = \"u8\"\ndefault = 256",
            "capsule.toml:9:11: `default` is to be a whole number from 0 to 255",
        ),
        (
            "[[config]]\nname = \"limit\"\ntype = \"double\"",
            "capsule.toml:8:8: `double` is not a type; there is `bool`, `u8`, `u16`, `u32`, `i8`, `i16`, `i32`, `f32`, `f64` and `text`",
        ),
        (
            "[[config]]\nname = \"limit\"\ntype = \"f64\"\nunit = \"cel\"",
            "capsule.toml:9:8: `cel` is not the symbol of a SenML unit, such as `Cel` or `m/s`; did you mean `Cel`?",
        ),
        (
            "[[config]]\nname = \"limit\"\ntype = \"text\"",
            "capsule.toml:6:1: `[[config]]` lacks `max`: the most bytes that it may have, 1 to 255",
        ),
        (
            "[state]\nversion = 1\noldest = 2",
            "capsule.toml:8:10: `oldest` is to be no more than `version`, which is 1",
        ),
        ("[needs]\nstack = 1000", "capsule.toml:7:9: `stack` is to be a multiple of 16"),
        (
            "[needs]\nstack = \"big\"",
            "capsule.toml:7:9: `stack` of `[needs]` is to be a number of bytes, not this string",
        ),
        (
            "[[timer]]\nname = \"a\"\nperiod = 1",
            "capsule.toml:8:1: `[[timer]]` has no `period`; there is `name` and `doc`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(folder.fault(text), expected);
    }
}

#[test]
fn faults_of_schema_files_name_the_schema_file() {
    let folder = Folder::new("schemas");
    folder.write(
        "humid.toml",
        "name = \"humid\"\nversion = 1\n[[field]]\nname = \"v\"\ntype = \"f31\"\n",
    );
    assert_eq!(
        folder.fault("humid = \"humid.toml\"\n[[input]]\nname = \"a\"\nschema = \"humid\""),
        "humid.toml:5:8: `f31` is not a type; did you mean `f32`?",
        "and what refers to the schema is not wrong as well"
    );
    assert_eq!(
        folder.fault("alert = \"alerts.toml\""),
        "capsule.toml:6:9: there is no file alerts.toml; did you mean `alert.toml`?"
    );
    let long = "name = \"v\"\ntype = \"bytes\"\nmax = 255\n";
    let two = long.replace('v', "w");
    let three = long.replace('v', "u");
    folder.write(
        "long.toml",
        &format!(
            "name = \"long\"\nversion = 1\n[[field]]\n{long}[[field]]\n{two}[[field]]\n{three}"
        ),
    );
    let fault = folder.fault("long = \"long.toml\"");
    assert!(
        fault.starts_with("long.toml:3:1: messages of this schema can have 772 bytes; 512"),
        "{fault}"
    );
}

#[test]
fn all_faults_are_named_at_once() {
    let folder = Folder::new("all");
    let faults =
        folder.faults("[capsule]\nname = \"A\"\n[[input]]\nname = \"x\"\nschema = \"y\"\n");
    assert_eq!(faults.len(), 3, "{faults:#?}");
    let faults = folder.faults("[capsule\n");
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with("capsule.toml:1:9: "), "{faults:?}");
    let faults = folder.faults("");
    assert_eq!(
        faults,
        [
            "capsule.toml:1:1: a capsule's description lacks `[capsule]`: a table with the capsule's `name` and `version`"
        ]
    );
    let path = folder.0.join("absent.toml");
    let fault = Description::read(&path).unwrap_err().to_string();
    assert!(fault.contains("absent.toml: cannot be read: "), "{fault}");
}

#[test]
fn each_language_says_what_it_is_built_from() {
    let folder = Folder::new("languages");
    let read = |more: &str| {
        let path = folder
            .write("capsule.toml", &format!("[capsule]\nname = \"a\"\nversion = \"1\"\n{more}"));
        Description::read(&path)
    };
    let source = read("language = \"c\"\nsources = [\"a.c\", \"b.c\"]").unwrap().source;
    assert_eq!(source, Source::C(vec![folder.0.join("a.c"), folder.0.join("b.c")]));
    let source = read("language = \"prebuilt\"\nsources = [\"a.wat\"]").unwrap().source;
    assert_eq!(source, Source::Prebuilt(folder.0.join("a.wat")));
    let fault = read("language = \"assemblyscript\"").unwrap_err().to_string();
    assert!(fault.ends_with(
        "`[capsule]` lacks `sources`: the list of files that the capsule is built from"
    ));
    let fault = read("language = \"rst\"").unwrap_err().to_string();
    assert!(
        fault.ends_with("`rst` is not a language that can be built; did you mean `rust`?"),
        "{fault}"
    );
}
