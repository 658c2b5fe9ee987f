use super::*;
use std::path::Path;

fn description() -> Description {
    let example = "../../protocols/capsule-abi/description/src/example/capsule.toml";
    Description::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(example)).unwrap()
}

fn parse(line: &str) -> Result<Option<Step>, String> {
    step(&description(), line)
}

fn happening(line: &str) -> Happening {
    match parse(line).unwrap().unwrap().what {
        Some(What::Happening(happening)) => happening,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn each_kind_of_line_is_understood() {
    // The station's presence and its text are absent.
    let mut warm = 21.5_f32.to_le_bytes().to_vec();
    warm.resize(20, 0);
    let line = r#"{"input": "temperature", "value": {"value": 21.5}}"#;
    assert_eq!(happening(line), Happening::Message(0, warm.clone()));
    let line = r#"{"sensor": "air", "value": {"value": 21.5}}"#;
    assert_eq!(happening(line), Happening::Sample(0, warm.clone()));
    assert_eq!(happening(r#"{"source": "button", "value": true}"#), Happening::Digital(0, 1.0));
    assert_eq!(happening(r#"{"timer": "tick"}"#), Happening::Timer(0));
    let line = r#"{"service": "limit", "method": "PUT", "value": {"value": 21.5}}"#;
    assert_eq!(happening(line), Happening::Request(0, 3, warm));
    assert_eq!(happening(r#"{"service": "limit"}"#), Happening::Request(0, 1, vec![]));
    assert_eq!(happening(r#"{"run": "00ff"}"#), Happening::Run(vec![0, 255]));
    let reply = parse(r#"{"reply": 3, "status": "4.04"}"#).unwrap().unwrap();
    assert_eq!(reply.what, Some(What::Reply(3, 0x84, None)));
    assert_eq!(parse(r#"{"wait": 1.5}"#), Ok(Some(Step { wait: 1_500_000, what: None })));
    assert_eq!((parse(""), parse("  # nothing")), (Ok(None), Ok(None)));
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    for (line, words) in [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ("{}", "nothing happens"),
        (r#"{"input": "temprature", "value": {}}"#, "no input `temprature`; is it `temperature`?"),
        (r#"{"input": "temperature"}"#, "there is no `value`"),
        (r#"{"input": "temperature", "value": {"valu": 1}}"#, "is it `value`?"),
        (r#"{"inptu": "temperature"}"#, "is it `input`?"),
        (r#"{"timer": "tick", "source": "button"}"#, "source and timer"),
        (r#"{"service": "limit", "method": "PATCH"}"#, "GET, POST, PUT, DELETE"),
        (r#"{"reply": 1, "status": "9.99"}"#, "like \"2.05\""),
        (r#"{"wait": -1}"#, "number of seconds"),
        (r#"{"run": "0"}"#, "hexadecimal"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn a_script_becomes_a_schedule() {
    let text = "\n{\"timer\": \"tick\"}\n{\"wait\": 2, \"timer\": \"tick\"}\n{\"wait\": 3}\n";
    let (schedule, end) = super::schedule(&description(), text).unwrap();
    assert_eq!(schedule, [(0, Happening::Timer(0)), (2_000_000, Happening::Timer(0))]);
    assert_eq!(end, 5_000_000);
    let bad = super::schedule(&description(), "\n\n{}").unwrap_err();
    assert_eq!(bad.line, 3);
}

#[test]
fn effects_are_told_by_name() {
    let description = description();
    let told = |effect: &Effect<'_>, asked| line(&description, 500_000, effect, asked);
    let json = told(&Effect::Actuate { actuator: 0, value: 1.0 }, None);
    assert_eq!(json, Some(json!({"at": 0.5, "actuator": "lamp", "value": 1.0})));
    let json = told(&Effect::Log { level: 1, text: b"hot" }, None);
    assert_eq!(json, Some(json!({"at": 0.5, "log": "warning", "text": "hot"})));
    let json = told(&Effect::Respond { status: 0x45, record: b"" }, None);
    assert_eq!(json, Some(json!({"at": 0.5, "response": "2.05", "value": ""})));
    assert_eq!(told(&Effect::CancelTimer { timer: 0 }, None), None);
}
