use super::testing::{Recipe, catalog, with_schemas};
use super::*;
use capmesh_wire::cbor::List;
use capmesh_wire::inventory::{Inventory, Sensor, Share};
use capmesh_wire::schema::FieldType;
use capmesh_wire::{Name, Payload, Text};

/// A node with these sensors, of the schema `temperature`.
fn offers(sensors: &[&str]) -> Offers {
    let schema = with_schemas(|schemas| schemas[0].id().tag());
    let sensor = |name: &&'static str| Sensor { name: Name::new(name).unwrap(), schema };
    let leaked: Vec<&'static str> = sensors.iter().map(|s| &*s.to_string().leak()).collect();
    let sensors: Vec<_> = leaked.iter().map(sensor).collect();
    let share = Share { total: 0, free: 0 };
    Offers::of(&Inventory {
        wire: 1,
        firmware: Text::cut(""),
        board: Text::cut(""),
        abis: List::EMPTY,
        flash: share,
        ram: share,
        fuel: share,
        instances: share,
        chunk_log2: 10,
        sensors: List::new(&sensors).unwrap(),
        actuators: List::EMPTY,
        sources: List::EMPTY,
        links: List::EMPTY,
        capsules: List::EMPTY,
    })
}

fn pipeline(text: &str) -> Pipeline {
    Pipeline::parse("p.toml", &format!("[pipeline]\nname = \"p\"\n{text}"))
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn capsule(name: &str, uses: &str, more: &str) -> String {
    format!("[[capsule]]\nname = \"{name}\"\nuse = \"{uses}\"\n{more}\n")
}

fn wire(from: &str, to: &str) -> String {
    format!("[[wire]]\nfrom = \"{from}\"\nto = \"{to}\"\n")
}

/// The mistakes of a text, as kinds and messages without places.
fn mistakes(text: &str) -> Vec<(Kind, String)> {
    let found = catalog().check(&pipeline(text), &offers(&["probe", "porch"]));
    let found = found.err().unwrap_or_default();
    let words = |fault: Fault| {
        let hint = fault.hint.map(|hint| hint.to_string()).unwrap_or_default();
        fault.message + &hint
    };
    found.into_iter().map(|mistake| (mistake.kind, words(mistake.fault))).collect()
}

fn one(text: &str) -> (Kind, String) {
    let mut all = mistakes(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn good() -> String {
    [
        capsule("sense", "t/sense:1", "replicas = 2"),
        capsule("sum", "t/sum:1", ""),
        capsule(
            "show",
            "t/show:1",
            "peers = { source = \"sum\" }\nconfig = { hold = 3, limit = 2 }",
        ),
        wire("sense.reading", "sum.left"),
        wire("sum.total", "show.load"),
        "[bridge]\npublish = [\"show.alert\"]\nsubscribe = { \"x/limit\" = \"show.limit\" }\n"
            .into(),
    ]
    .concat()
}

#[test]
fn names_become_numbers() {
    let catalog = catalog();
    let resolved = catalog.check(&pipeline(&good()), &offers(&["probe"])).unwrap();
    let ports: Vec<_> = resolved.wires.iter().map(|w| (w.from.number, w.to.number)).collect();
    assert_eq!(ports, [(0, 0), (0, 0)]);
    let show = &resolved.capsules[2];
    assert_eq!(show.peers, [(0, 1)]);
    assert_eq!(show.capsule, catalog.resolve("t/show:1").unwrap());
    // In the manifest's order, with what is not set left out: limit, hold, label, loud.
    let manifest = catalog.manifest(&show.capsule).unwrap();
    let payload = Payload::new(show.config.as_deref().unwrap()).unwrap();
    let values: Vec<_> = payload.values(manifest.capsule.config).unwrap().flatten().collect();
    use capmesh_wire::schema::Value::{Absent, Float, Uint};
    assert_eq!(values, [Float(2.0), Uint(3), Absent, Absent]);
    assert_eq!(resolved.publish[0].name, ("show".into(), "alert".into()));
    assert_eq!((&*resolved.subscribe[0].topic, resolved.subscribe[0].to.number), ("x/limit", 1));
    assert!(resolved.capsules[0].demands.sensors.iter().all(|s| s.starts_with("probe#")));
}

#[test]
fn what_is_missing_is_asked_for() {
    let (pipeline, mut catalog) = (pipeline(&good()), Catalog::new());
    let missing = catalog.missing(&pipeline);
    assert_eq!(missing.references.len(), 3);
    let sense = Recipe { name: "t/sense", ..Recipe::default() };
    let digest = Manifest::digest(&sense.envelope());
    catalog.refer("t/sense:1", digest).unwrap();
    let missing = catalog.missing(&pipeline);
    assert_eq!((missing.references.len(), missing.manifests.len()), (2, 1));
    assert_eq!(sense.publish(&mut catalog), digest);
    assert_eq!(catalog.missing(&pipeline).manifests.len(), 0);
    assert!(matches!(catalog.insert(b"no manifest"), Err(Refused::Malformed(_))));
    catalog.retain(|_| false, |_| false);
    assert!(catalog.manifest(&digest).is_none() && catalog.resolve("t/sense:1").is_none());
}

#[test]
fn schemas_that_do_not_match_say_where_they_differ() {
    let (kind, message) = one(&[
        capsule("sense", "t/sense:1", ""),
        capsule("sum", "t/sum:1", ""),
        capsule("show", "t/show:1", "peers = { source = \"sum\" }"),
        wire("sense.reading", "show.load"),
    ]
    .concat());
    assert_eq!(kind, Kind::Schema);
    assert_eq!(
        message,
        "`sense.reading` gives `temperature` version 1, `show.load` takes `load` version 1: the field \
         `value` comes as f32 in Cel and is wanted as f32 in /"
    );
}

#[test]
fn the_place_is_that_of_the_text() {
    let text = format!("{}{}", capsule("sense", "t/sense:1", ""), wire("sense.raeding", "sense.x"));
    let found = catalog().check(&pipeline(&text), &offers(&["probe"])).unwrap_err();
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "p.toml:8:8: `t/sense:1` has no output `raeding`; did you mean `reading`?",
            "p.toml:9:6: `t/sense:1` has no input `x`; there is none",
        ]
    );
}

#[test]
fn settings_that_do_not_fit_say_what_does() {
    let show = |config: &str| {
        let peers = "peers = { source = \"sum\" }";
        let show = capsule("show", "t/show:1", &format!("{peers}\nconfig = {{ {config} }}"));
        mistakes(&[capsule("sum", "t/sum:1", ""), show].concat())
    };
    assert_eq!(show("limit = 5, hold = 255, label = \"12345678\", loud = true"), []);
    for (config, message) in [
        ("hlod = 3", "`t/show:1` has no setting `hlod`; did you mean `hold`?"),
        ("hold = 256", "`hold` is to be a whole number from 0 to 255"),
        ("hold = -1", "`hold` is to be a whole number from 0 to 255"),
        ("hold = 1.5", "`hold` is to be a whole number from 0 to 255"),
        ("limit = \"high\"", "`limit` is to be a number (f32)"),
        ("limit = 1e300", "`limit` is to be a number (f32)"),
        ("label = \"123456789\"", "`label` is to be a text of at most 8 bytes"),
        ("loud = 1", "`loud` is to be `true` or `false`"),
    ] {
        assert_eq!(show(config), [(Kind::Config, message.to_owned())], "{config}");
    }
    // One that has no default has to be set.
    let (kind, message) = one(&capsule("n", "t/named:1", ""));
    let expected = "`n` lacks the setting `id`: a whole number from 0 to 65535";
    assert_eq!((kind, &*message), (Kind::Config, expected));
    // All of them at once.
    assert_eq!(show("hold = 256, loud = 1, x = 1").len(), 3);
}

#[test]
fn what_no_node_has_is_said_before_anything_moves() {
    let lamp = one(&capsule("l", "t/lamp:1", ""));
    assert_eq!(lamp, (Kind::Actuator, "no node has the actuator `lamp`; there is none".into()));
    let needs = one(&capsule("s", "t/filter:1", "needs = { sensor = \"prch\" }"));
    assert_eq!(
        needs,
        (Kind::Sensor, "no node has the sensor `prch`; did you mean `porch`?".into())
    );
    // A sensor of that name with another schema is another sensor.
    let mut catalog = catalog();
    let other = Recipe { name: "t/other", sensors: &[("probe", 1)], ..Recipe::default() };
    other.publish(&mut catalog);
    let text = capsule("o", "t/other:1", "");
    let found = catalog.check(&pipeline(&text), &offers(&["probe"])).unwrap_err();
    assert_eq!(
        found[0].fault.message,
        "there are nodes with a sensor `probe`, but none with samples of the schema that `t/other:1` wants"
    );
    // What is optional is left out, with its wires.
    let text = [
        capsule("o", "t/sense:1", "optional = true"),
        capsule("f", "t/filter:1", ""),
        wire("o.reading", "f.reading"),
        "[bridge]\npublish = [\"o.reading\"]\n".into(),
    ]
    .concat();
    let resolved = catalog.check(&pipeline(&text), &offers(&["porch"])).unwrap();
    assert_eq!((resolved.capsules[0].replicas, resolved.capsules[1].replicas), (0, 1));
    assert!(resolved.wires.is_empty() && resolved.publish.is_empty());
    let resolved = catalog.check(&pipeline(&text), &offers(&["probe"])).unwrap();
    assert_eq!((resolved.capsules[0].replicas, resolved.wires.len()), (1, 1));
}

#[test]
fn peers_have_to_be_there_and_to_answer() {
    let show = |peers: &str| {
        let all = [
            capsule("sum", "t/sum:1", ""),
            capsule("filter", "t/filter:1", ""),
            capsule("show", "t/show:1", peers),
        ];
        one(&all.concat())
    };
    assert_eq!(
        show(""),
        (
            Kind::Peer,
            "`show` lacks `peers = { source = \"...\" }`: the capsule of this pipeline that \
             `t/show:1` asks for `total`"
                .into()
        )
    );
    assert_eq!(
        show("peers = { source = \"filter\" }"),
        (Kind::Peer, "`t/filter:1` does not answer `total`; there is none".into())
    );
    assert_eq!(
        show("peers = { source = \"sum\", sorce = \"sum\" }"),
        (Kind::Peer, "`t/show:1` asks nobody called `sorce`; did you mean `source`?".into())
    );
}

#[test]
fn answers_have_the_schema_that_is_wanted() {
    let mut catalog = catalog();
    let asker = Recipe {
        name: "t/asker",
        peers: &[("who", "total", Some(0), Some(2))],
        ..Recipe::default()
    };
    asker.publish(&mut catalog);
    let text =
        [capsule("sum", "t/sum:1", ""), capsule("asker", "t/asker:1", "peers = { who = \"sum\" }")]
            .concat();
    let found = catalog.check(&pipeline(&text), &Offers::default()).unwrap_err();
    let messages: Vec<_> = found.iter().map(|m| (m.kind, m.fault.message.as_str())).collect();
    assert_eq!(
        messages,
        [
            (
                Kind::Schema,
                "the requests of `total` do not match: they come with a value where none is wanted"
            ),
            (
                Kind::Schema,
                "the responses of `total` do not match: the field `value` comes as f32 in / and is \
                 wanted as f64 in Cel"
            ),
        ]
    );
}

#[test]
fn unknown_capsules_are_named_with_the_nearest() {
    let found = one(&capsule("s", "t/sence:1", ""));
    assert_eq!(
        found,
        (Kind::UnknownCapsule, "the registry has no `t/sence:1`; did you mean `t/sense:1`?".into())
    );
}

#[test]
fn more_wires_than_an_instance_can_have_are_counted() {
    let text = |replicas: u8| {
        [
            capsule("many", "t/sense:1", &format!("replicas = {replicas}")),
            capsule("few", "t/filter:1", ""),
            wire("many.reading", "few.reading"),
        ]
        .concat()
    };
    assert_eq!(mistakes(&text(32)), []);
    let (kind, message) = one(&text(33));
    assert_eq!(kind, Kind::TooMany);
    assert!(message.starts_with("33 wires end at each instance of `few`"), "{message}");
    // In pairs there are enough for all.
    assert_eq!(mistakes(&format!("{}replicas = \"paired\"\n", text(32))), []);
}

#[test]
fn every_type_says_what_it_takes() {
    // Settings of every type, each set to what it is not.
    let mut catalog = Catalog::new();
    let recipe = Recipe {
        name: "t/all",
        config: &[
            ("a", FieldType::U16, true),
            ("b", FieldType::I8, true),
            ("c", FieldType::I16, true),
            ("d", FieldType::I32, true),
            ("e", FieldType::U32, true),
            ("f", FieldType::F64, true),
        ],
        ..Recipe::default()
    };
    recipe.publish(&mut catalog);
    let check = |config: &str| {
        let text = capsule("x", "t/all:1", &format!("config = {{ {config} }}"));
        catalog.check(&pipeline(&text), &Offers::default()).map_err(|m| m.len())
    };
    assert!(
        check("a = 65535, b = -128, c = 32767, d = -2147483648, e = 4294967295, f = 1").is_ok()
    );
    let wrong = "a = 65536, b = -129, c = 32768, d = 2147483648, e = -1, f = true";
    assert_eq!(check(wrong), Err(6));
}
