use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

fn mistakes(text: &str) -> Vec<String> {
    match Pipeline::parse("p.toml", text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.as_slice().iter().map(ToString::to_string).collect(),
    }
}

/// A pipeline of `a` and `b` with `more` behind it.
fn with(more: &str) -> String {
    let capsule = |name| format!("[[capsule]]\nname = \"{name}\"\nuse = \"t/{name}:1\"\n");
    format!("[pipeline]\nname = \"p\"\n{}{}{more}", capsule("a"), capsule("b"))
}

/// The lines before `more` in [`with`].
const BEFORE: usize = 8;

/// Checks that `more` has exactly these mistakes: line within it, column, message.
fn check(more: &str, expected: &[(usize, usize, &str)]) {
    let expected: Vec<String> = expected
        .iter()
        .map(|(line, column, message)| format!("p.toml:{}:{column}: {message}", line + BEFORE))
        .collect();
    assert_eq!(mistakes(&with(more)), expected, "{more}");
}

#[test]
fn the_example_means_what_it_says() {
    let pipeline = Pipeline::parse("example.toml", include_str!("example.toml")).unwrap();
    assert_eq!(pipeline.name.value, "city-air");
    let clean = pipeline.capsule("clean").unwrap();
    assert_eq!((clean.replicas, clean.lease_ms), (3, None));
    assert_eq!(clean.sensors[0].value, "air-quality");
    assert_eq!(clean.config[1].value.value, Value::Float(500.0));
    assert_eq!(clean.apart[0].value, "clean");
    assert_eq!((clean.failover, clean.checkpoint_ms), (Failover::Restart, None));
    let stats = pipeline.capsule("stats").unwrap();
    assert_eq!((stats.failover, stats.checkpoint_ms), (Failover::Checkpoint, Some(30_000)));
    let alert = pipeline.capsule("alert").unwrap();
    assert_eq!(alert.lease_ms, Some(60_000));
    assert_eq!((&*alert.peers[0].0.value, &*alert.peers[0].1.value), ("source", "stats"));
    let ends: Vec<_> = pipeline.wires.iter().map(|w| (&*w.to.capsule, &*w.to.port)).collect();
    assert_eq!(ends, [("stats", "in"), ("alert", "reading")]);
    assert!(pipeline.wires.iter().all(|wire| wire.delivery == Delivery::Every));
    let publish: Vec<_> = pipeline.publish.iter().map(|p| (&*p.from.port, p.delivery)).collect();
    assert_eq!(publish, [("summary", Delivery::Latest), ("raised", Delivery::Every)]);
    assert_eq!(pipeline.subscribe[0].topic.value, "city/threshold");
    assert_eq!(pipeline.subscribe[0].to.port, "threshold");
}

#[test]
fn what_is_missing_is_named() {
    let place = |message| format!("p.toml:1:1: {message}");
    assert_eq!(
        mistakes(""),
        [
            place("a pipeline lacks `[pipeline]`: a table with the pipeline's `name`"),
            place(
                "a pipeline lacks `[[capsule]]`: a table for each capsule, with its `name` and `use`"
            ),
        ]
    );
    let all = mistakes("[pipeline]\n[[capsule]]\n");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].starts_with("p.toml:1:1: `[pipeline]` lacks `name`"), "{all:?}");
    assert!(all[1].starts_with("p.toml:2:1: `[[capsule]]` lacks `name`"), "{all:?}");
    assert!(all[2].starts_with("p.toml:2:1: `[[capsule]]` lacks `use`"), "{all:?}");
}

#[test]
fn all_mistakes_come_at_once_with_what_was_meant() {
    check(
        "replica = 2\nlease = \"soon\"\n[[wire]]\nfrom = \"a.out\"\nto = \"c.in\"\ndelivry = \"every\"\n",
        &[
            (1, 1, "`[[capsule]]` has no `replica`; did you mean `replicas`?"),
            (
                2,
                9,
                "`soon` is not a time, such as \"30s\" (`ms`, `s`, `m` or `h`), or \"none\"; the most are 1193 h",
            ),
            (6, 1, "`[[wire]]` has no `delivry`; did you mean `delivery`?"),
            (5, 6, "`c` is not a capsule of this pipeline; did you mean `a`?"),
        ],
    );
}

#[test]
fn choices_are_listed() {
    check(
        "failover = \"restat\"\n",
        &[(1, 12, "`restat` is not a `failover`; did you mean `restart`?")],
    );
    check(
        "[[wire]]\nfrom = \"a.out\"\nto = \"b\"\ndelivery = \"often\"\n",
        &[
            (3, 6, "`b` is not `capsule.input`; which input of `b`?"),
            (4, 12, "`often` is not a `delivery`; there is `latest` and `every`"),
        ],
    );
}

#[test]
fn contradictions_are_mistakes() {
    let wire = "[[wire]]\nfrom = \"a.x\"\nto = \"b.y\"\n";
    check(&format!("{wire}{wire}"), &[(6, 6, "`a.x` goes to `b.y` already")]);
    check(
        &format!("{wire}overflow = \"drop-oldest\"\n"),
        &[(
            4,
            12,
            "`overflow` is for `delivery = \"every\"`: on `latest` the newest message replaces the one before",
        )],
    );
    check(
        "[[capsule]]\nname = \"a\"\nuse = \"t/a:1\"\n",
        &[(2, 8, "there is another `[[capsule]]` named `a`")],
    );
    check("[bridge]\npublish = [\"a.x\", \"a.x\"]\n", &[(2, 19, "`a.x` is listed twice")]);
}

#[test]
fn values_keep_their_bounds() {
    check("replicas = 0\n", &[(1, 12, "`replicas` is to be a whole number from 1 to 64")]);
    check("replicas = 65\n", &[(1, 12, "`replicas` is to be a whole number from 1 to 64")]);
    check(
        "config = { a = [1], b = 1 }\n",
        &[(
            1,
            16,
            "`a` of `[[capsule]]` is to be a number, a text, `true` or `false`, not this array",
        )],
    );
    let topics = ["", "a/+", "a/#", "$SYS/x", "a\\u0000b"];
    let what = ["is empty", "has a wildcard", "has a wildcard", "begins with `$`", "has a control"];
    for (topic, what) in topics.into_iter().zip(what) {
        let text = with(&format!("[bridge]\nsubscribe = {{ \"{topic}\" = \"a.x\" }}\n"));
        let found = mistakes(&text);
        assert!(found.len() == 1 && found[0].contains(what), "{topic}: {found:?}");
    }
}

#[test]
fn times_have_units() {
    let lease = |text: &str| {
        let pipeline = Pipeline::parse("", &with(&format!("lease = \"{text}\"\n")));
        pipeline.map(|pipeline| pipeline.capsules[1].lease_ms).ok()
    };
    assert_eq!(lease("none"), Some(None));
    assert_eq!(lease("250ms"), Some(Some(250)));
    assert_eq!(lease("2 m"), Some(Some(120_000)));
    assert_eq!(lease("1h"), Some(Some(3_600_000)));
    for wrong in ["", "5", "s", "0s", "-1s", "1d", "2000h", "1.5s"] {
        assert_eq!(lease(wrong), None, "{wrong}");
    }
}

#[test]
fn syntax_errors_have_places() {
    let all = mistakes("[pipeline\nname = \"p\"\n[[capsule]]\nname = = 1\n");
    assert!(all.len() >= 2, "{all:?}");
    assert!(all[0].starts_with("p.toml:1:"), "{all:?}");
    assert!(all.iter().any(|mistake| mistake.starts_with("p.toml:4:")), "{all:?}");
}

#[test]
fn what_is_too_much_is_refused() {
    let text = format!("# {}\n{}", "x".repeat(TEXT), with(""));
    assert_eq!(mistakes(&text), [format!("p.toml:1:1: a pipeline has at most {TEXT} bytes")]);
    let mut text = "[pipeline]\nname = \"p\"\n".to_owned();
    for n in 0..=CAPSULES {
        let _ = writeln!(text, "[[capsule]]\nname = \"c{n}\"\nuse = \"t/c:1\"");
    }
    assert!(mistakes(&text)[0].ends_with("there may be no more than 64 `[[capsule]]`"));
    let inputs = (0..=WIRES).map(|n| format!("\"b.i{n}\"")).collect::<Vec<_>>().join(", ");
    let text = with(&format!("[[wire]]\nfrom = \"a.x\"\nto = [{inputs}]\n"));
    assert!(mistakes(&text)[0].ends_with("there may be no more than 256 wires"));
    // No more mistakes than anybody reads, and none longer.
    let text: String = (0..2_000).map(|n| format!("key-{n} = 1\n")).collect();
    assert_eq!(mistakes(&text).len(), Collector::MOST);
    let text = with(&format!("lease = \"{}\"\n", "x".repeat(10_000)));
    assert!(mistakes(&text)[0].len() < Collector::MESSAGE + 50);
}

#[test]
fn replicas_are_joined_each_with_each_or_in_pairs() {
    assert_eq!(Replicas::All.pairs(2, 2), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(Replicas::Paired.pairs(2, 2), [(0, 0), (1, 1)]);
    assert_eq!(Replicas::Paired.pairs(3, 2), [(0, 0), (1, 1), (2, 0)]);
    assert_eq!(Replicas::Paired.pairs(1, 3), [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(Replicas::Paired.pairs(0, 3), []);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text: String) {
        let _ = Pipeline::parse("p", &text);
    }

    /// Something is put in the place of some bytes of a good text.
    #[test]
    fn nor_is_one_that_is_nearly_good(at in 0..900_usize, len in 0..40_usize, put in ".{0,8}") {
        let mut text = include_str!("example.toml").to_owned();
        let start = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = (start..=(start + len).min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.replace_range(start..end.unwrap(), &put);
        if let Ok(pipeline) = Pipeline::parse("p", &text) {
            let is_there = |end: &End| pipeline.capsule(&end.capsule).is_some();
            let good = pipeline.wires.iter().all(|wire| is_there(&wire.from) && is_there(&wire.to));
            prop_assert!(good);
            // What is durable is the text: it means the same when it is read again.
            prop_assert_eq!(Pipeline::parse("p", &pipeline.text).unwrap(), pipeline);
        }
    }
}
