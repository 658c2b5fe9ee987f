//! From text to a [`Pipeline`].

use super::{
    CAPSULES, Capsule, Delivery, End, Failover, MQTT_TOPIC, Overflowing, Pipeline, Publish,
    REPLICAS, Replicas, Setting, Spot, Subscribe, Value, WIRES, Wire,
};
use capmesh_description::document::{self, Distinct, File, Section, Spanned, Word, hint};
use capmesh_wire::CapsuleRef;
use capmesh_wire::text::Name;
use std::collections::BTreeSet;
use std::ops::Range;

const TOP: &[&str] = &["pipeline", "capsule", "wire", "bridge"];

const CAPSULE: &[&str] = &[
    "name",
    "use",
    "replicas",
    "needs",
    "config",
    "peers",
    "lease",
    "failover",
    "checkpoint",
    "affinity",
    "optional",
    "rollback",
    "doc",
];

const WIRE: &[&str] = &["from", "to", "delivery", "overflow", "replicas", "rate"];

type Entry<'a> = (Word<'a>, &'a Spanned<document::Value<'a>>);

/// How often a checkpoint is taken if nobody says, in milliseconds.
const CHECKPOINT_MS: u32 = 30_000;

pub(super) fn parse(file: &File<'_>) -> Option<Pipeline> {
    let root = file.toml()?;
    let top = Section::new(file, root.get_ref(), 0..0, "a pipeline", TOP);
    if !top.has("pipeline") {
        top.missing("[pipeline]", "a table with the pipeline's `name`");
    }
    if !top.has("capsule") {
        top.missing("[[capsule]]", "a table for each capsule, with its `name` and `use`");
    }
    let head = top.table("pipeline", "`[pipeline]`", &["name", "doc"]);
    let name = head.as_ref().and_then(Section::name).map(spot);
    let doc = head.as_ref().and_then(Section::doc);
    let sections = top.tables("capsule", "`[[capsule]]`", CAPSULE, CAPSULES);
    let known = Known::of(&sections);
    let names = Distinct::default();
    let capsules: Vec<_> =
        sections.iter().filter_map(|section| capsule(section, &names, &known)).collect();
    let wires = wires(&top, &known);
    let bridge = top.table("bridge", "`[bridge]`", &["publish", "subscribe"]);
    let publish = bridge.as_ref().map(|bridge| publish(bridge, &known)).unwrap_or_default();
    let subscribe = bridge.as_ref().map(|bridge| subscribe(bridge, &known)).unwrap_or_default();
    let (path, text) = (file.path.display().to_string(), file.text.clone());
    Some(Pipeline { name: name?, doc, capsules, wires, publish, subscribe, path, text })
}

fn spot(word: Word<'_>) -> Spot<String> {
    Spot { value: word.text.to_owned(), span: word.span() }
}

/// The names of the capsules, also of those that have other mistakes.
struct Known<'a>(Vec<&'a str>);

impl<'a> Known<'a> {
    fn of(sections: &[Section<'a>]) -> Self {
        let name = |section: &Section<'a>| section.get("name")?.get_ref().as_str();
        Self(sections.iter().filter_map(name).collect())
    }

    /// Notes a word that is not the name of a capsule.
    fn check(&self, file: &File<'_>, name: &str, span: &Range<usize>) -> bool {
        let known = self.0.contains(&name);
        if !known {
            let hint = hint(name, &self.0);
            let message = format!("`{name}` is not a capsule of this pipeline");
            file.fault(span, hint.after(message));
        }
        known
    }

    /// The words that are names of capsules.
    fn keep(&self, file: &File<'_>, words: Vec<Word<'_>>) -> Vec<Spot<String>> {
        let known = words.into_iter().filter(|word| self.check(file, word.text, &word.span()));
        known.map(spot).collect()
    }
}

fn capsule<'a>(section: &Section<'a>, names: &Distinct<'a>, known: &Known<'_>) -> Option<Capsule> {
    let file = section.file;
    let name = names.check(section, section.name()).map(spot);
    let uses = uses(section).map(spot);
    let replicas = replicas(section);
    let needs = section.table("needs", "`needs`", &["sensor", "actuator"]);
    let listed = |key| needs.as_ref().map(|needs| names_under(needs, key)).unwrap_or_default();
    let affinity = section.table("affinity", "`affinity`", &["together", "apart", "labels"]);
    let list = |key| {
        let expected = "a list of names of capsules";
        let words = affinity.as_ref().and_then(|affinity| affinity.words(key, expected));
        known.keep(file, words.unwrap_or_default())
    };
    let (together, apart) = (list("together"), list("apart"));
    let labels = affinity.as_ref().map(|affinity| names_under(affinity, "labels"));
    let checkpoint_ms = duration(section, "checkpoint", false);
    let failover = failover(section, checkpoint_ms.is_some());
    let default = (failover == Failover::Checkpoint).then_some(CHECKPOINT_MS);
    Some(Capsule {
        replicas,
        sensors: listed("sensor"),
        actuators: listed("actuator"),
        config: config(section),
        peers: peers(section, known),
        lease_ms: duration(section, "lease", true),
        failover,
        checkpoint_ms: checkpoint_ms.or(default),
        together,
        apart,
        labels: labels.unwrap_or_default(),
        optional: section.flag("optional").unwrap_or(false),
        rollback: section.flag("rollback").unwrap_or(false),
        name: name?,
        uses: uses?,
    })
}

fn uses<'a>(section: &Section<'a>) -> Option<Word<'a>> {
    let expected =
        "a capsule in the registry, by tag (`city/clean:1`) or digest (`city/clean@sha256:...`)";
    let word = section.required_word("use", expected)?;
    if let Err(error) = CapsuleRef::try_from(word.text) {
        section.file.fault(&word.span(), format!("`{}` is not {expected}: {error}", word.text));
        return None;
    }
    Some(word)
}

fn replicas(section: &Section<'_>) -> u8 {
    let expected = format!("a whole number from 1 to {REPLICAS}");
    let replicas = section.whole::<u8>("replicas", &expected).unwrap_or(1);
    if !(1..=REPLICAS).contains(&replicas) {
        section.file.fault(&section.span_of("replicas"), format!("`replicas` is to be {expected}"));
    }
    replicas
}

/// A name or a list of names.
fn names_under(section: &Section<'_>, key: &str) -> Vec<Spot<String>> {
    let Some(value) = section.get(key) else { return Vec::new() };
    let words = if value.get_ref().is_str() {
        section.word(key, "a name").into_iter().collect()
    } else {
        section.words(key, "a name or a list of names").unwrap_or_default()
    };
    let good = words.into_iter().filter(|word| {
        let error = Name::new(word.text).err();
        if let Some(error) = error {
            section.file.fault(&word.span(), format!("`{}` is not a name: {error}", word.text));
        }
        error.is_none()
    });
    good.map(spot).collect()
}

/// A time in milliseconds; `None` if it is absent, `none` where that may stand, or wrong.
fn duration(section: &Section<'_>, key: &str, may_be_none: bool) -> Option<u32> {
    let expected = match may_be_none {
        true => "a time, such as \"30s\" (`ms`, `s`, `m` or `h`), or \"none\"",
        false => "a time, such as \"30s\" (`ms`, `s`, `m` or `h`)",
    };
    let word = section.word(key, expected)?;
    if may_be_none && word.text == "none" {
        return None;
    }
    let digits = word.text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.text.split_at(digits);
    let factor: Option<u32> = match unit.trim_start() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let time = number.parse::<u32>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    let time = time.filter(|time| *time > 0);
    if time.is_none() {
        let message = format!("`{}` is not {expected}; the most are 1193 h", word.text);
        section.file.fault(&word.span(), message);
    }
    time
}

fn failover(section: &Section<'_>, has_checkpoint: bool) -> Failover {
    let choices = [
        ("restart", Failover::Restart),
        ("checkpoint", Failover::Checkpoint),
        ("none", Failover::None),
    ];
    let default = if has_checkpoint { Failover::Checkpoint } else { Failover::Restart };
    choice(section, "failover", &choices).unwrap_or(default)
}

/// One of a few words.
fn choice<T: Copy>(section: &Section<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let word = section.word(key, &format!("one of {}", quoted.join(", ")))?;
    let found = choices.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value);
    if found.is_none() {
        let hint = hint(word.text, &names);
        let message = format!("`{}` is not a `{key}`", word.text);
        section.file.fault(&word.span(), hint.after(message));
    }
    found
}

fn config(section: &Section<'_>) -> Vec<Setting> {
    let entry = |(name, value): Entry<'_>| {
        let found = match value.get_ref() {
            document::Value::Boolean(flag) => Some(Value::Bool(*flag)),
            document::Value::String(text) => Some(Value::Text(text.clone().into_owned())),
            document::Value::Float(float) => float.as_str().parse().ok().map(Value::Float),
            document::Value::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Value::Integer)
            }
            _ => None,
        };
        if found.is_none() {
            let expected = "a number, a text, `true` or `false`";
            section.expected(value, name.text, expected);
        }
        Some(Setting { name: spot(name), value: Spot { value: found?, span: value.span() } })
    };
    section.entries("config").into_iter().filter_map(entry).collect()
}

fn peers(section: &Section<'_>, known: &Known<'_>) -> Vec<(Spot<String>, Spot<String>)> {
    let expected = "the name of a capsule of this pipeline";
    let words = section.map("peers", expected).into_iter();
    let known = words.filter(|(_, to)| known.check(section.file, to.text, &to.span()));
    known.map(|(name, to)| (spot(name), spot(to))).collect()
}

/// `capsule.port`, of a capsule that there is.
fn end(file: &File<'_>, word: Word<'_>, port: &str, known: &Known<'_>) -> Option<End> {
    let span = word.span();
    let parts = word
        .text
        .split_once('.')
        .filter(|(capsule, port)| Name::new(capsule).is_ok() && Name::new(port).is_ok());
    let Some((capsule, port)) = parts else {
        let hint = match known.0.contains(&word.text) {
            true => format!("; which {port} of `{}`?", word.text),
            false => String::new(),
        };
        file.fault(&span, format!("`{}` is not `capsule.{port}`{hint}", word.text));
        return None;
    };
    known.check(file, capsule, &span).then(|| End {
        capsule: capsule.to_owned(),
        port: port.to_owned(),
        span,
    })
}

/// `capsule.input`, or a list of them.
fn inputs(section: &Section<'_>, key: &str, known: &Known<'_>) -> Vec<End> {
    let expected = "an input: \"capsule.input\"";
    let words = match section.get(key) {
        Some(value) if value.get_ref().is_array() => section.words(key, expected),
        _ => section.word(key, expected).map(|word| vec![word]),
    };
    let words = words.unwrap_or_default().into_iter();
    words.filter_map(|word| end(section.file, word, "input", known)).collect()
}

fn output(section: &Section<'_>, known: &Known<'_>) -> Option<End> {
    let word = section.required_word("from", "an output: \"capsule.output\"")?;
    end(section.file, word, "output", known)
}

/// What a wire promises, and what a full outbox does.
fn promise(section: &Section<'_>) -> (Delivery, Overflowing) {
    let deliveries = [("latest", Delivery::Latest), ("every", Delivery::Every)];
    let delivery = choice(section, "delivery", &deliveries);
    let policies = [
        ("pause-producer", Overflowing::PauseProducer),
        ("drop-oldest", Overflowing::DropOldest),
        ("drop-newest", Overflowing::DropNewest),
    ];
    let overflow = choice(section, "overflow", &policies);
    let delivery = delivery.unwrap_or(Delivery::Latest);
    if overflow.is_some() && delivery == Delivery::Latest {
        let message = "`overflow` is for `delivery = \"every\"`: on `latest` the newest message \
                       replaces the one before";
        section.file.fault(&section.span_of("overflow"), message);
    }
    (delivery, overflow.unwrap_or(Overflowing::PauseProducer))
}

fn rate(section: &Section<'_>) -> f64 {
    let expected = "messages a second, more than 0 and at most 100000";
    let rate = section.number("rate", expected).unwrap_or(1.0);
    if !(rate > 0.0 && rate <= 1e5) {
        section.file.fault(&section.span_of("rate"), format!("`rate` is to be {expected}"));
    }
    rate
}

/// Notes what is wired twice.
#[derive(Default)]
struct Once(BTreeSet<(String, String, String)>);

impl Once {
    fn check(&mut self, file: &File<'_>, from: &str, to: &End) -> bool {
        let is_new = self.0.insert((from.to_owned(), to.capsule.clone(), to.port.clone()));
        if !is_new {
            let message = format!("`{from}` goes to `{}.{}` already", to.capsule, to.port);
            file.fault(&to.span, message);
        }
        is_new
    }
}

fn wires(top: &Section<'_>, known: &Known<'_>) -> Vec<Wire> {
    let mut once = Once::default();
    let mut wires = Vec::new();
    for section in top.tables("wire", "`[[wire]]`", WIRE, WIRES) {
        let from = output(&section, known);
        if !section.has("to") {
            section.missing("to", "an input or a list of inputs: \"capsule.input\"");
        }
        let to = inputs(&section, "to", known);
        let (delivery, overflow) = promise(&section);
        let choices = [("all", Replicas::All), ("paired", Replicas::Paired)];
        let replicas = choice(&section, "replicas", &choices).unwrap_or_default();
        let rate = rate(&section);
        let Some(from) = from else { continue };
        for to in to {
            let name = format!("{}.{}", from.capsule, from.port);
            if once.check(section.file, &name, &to) {
                let from = from.clone();
                wires.push(Wire { from, to, delivery, overflow, replicas, rate });
            }
        }
    }
    if wires.len() > WIRES {
        let message = format!("there may be no more than {WIRES} wires");
        top.file.fault(&top.span_of("wire"), message);
    }
    wires
}

fn publish(bridge: &Section<'_>, known: &Known<'_>) -> Vec<Publish> {
    let Some(value) = bridge.get("publish") else { return Vec::new() };
    let Some(items) = value.get_ref().as_array() else {
        bridge.expected(value, "publish", "a list of outputs: [\"capsule.output\"]");
        return Vec::new();
    };
    if items.len() > WIRES {
        let message = format!("no more than {WIRES} outputs can be published");
        bridge.file.fault(&value.span(), message);
    }
    let mut seen = BTreeSet::new();
    let mut publish = Vec::new();
    for item in items.iter().take(WIRES) {
        let found = publication(bridge, item, known);
        let Some(found) = found else { continue };
        if seen.insert((found.from.capsule.clone(), found.from.port.clone())) {
            publish.push(found);
        } else {
            let message = format!("`{}.{}` is listed twice", found.from.capsule, found.from.port);
            bridge.file.fault(&found.from.span, message);
        }
    }
    publish
}

fn publication<'a>(
    bridge: &Section<'a>,
    item: &'a Spanned<document::Value<'a>>,
    known: &Known<'_>,
) -> Option<Publish> {
    if let Some(text) = item.get_ref().as_str() {
        let from = end(bridge.file, Word::new(text, &item.span()), "output", known)?;
        let (delivery, overflow) = (Delivery::Latest, Overflowing::PauseProducer);
        return Some(Publish { from, delivery, overflow, rate: 1.0 });
    }
    let Some(table) = item.get_ref().as_table() else {
        bridge.expected(
            item,
            "publish",
            "\"capsule.output\" or { from = \"capsule.output\", ... }",
        );
        return None;
    };
    let keys = ["from", "delivery", "overflow", "rate"];
    let section = Section::new(bridge.file, table, item.span(), "an item of `publish`", &keys);
    let from = output(&section, known);
    let (delivery, overflow) = promise(&section);
    Some(Publish { rate: rate(&section), from: from?, delivery, overflow })
}

fn subscribe(bridge: &Section<'_>, known: &Known<'_>) -> Vec<Subscribe> {
    let entries = bridge.entries("subscribe");
    if entries.len() > WIRES {
        let message = format!("no more than {WIRES} topics can be subscribed to");
        bridge.file.fault(&bridge.span_of("subscribe"), message);
    }
    let mut once = Once::default();
    let mut subscribe = Vec::new();
    for (topic, value) in entries.into_iter().take(WIRES) {
        check_topic(bridge.file, topic);
        let (to, delivery, rate) = subscription(bridge, (topic, value), known);
        for to in to {
            if once.check(bridge.file, topic.text, &to) {
                subscribe.push(Subscribe { topic: spot(topic), to, delivery, rate });
            }
        }
    }
    if subscribe.len() > WIRES {
        let message = format!("there may be no more than {WIRES} inputs behind topics");
        bridge.file.fault(&bridge.span_of("subscribe"), message);
    }
    subscribe
}

fn subscription<'a>(
    bridge: &Section<'a>,
    (topic, value): Entry<'a>,
    known: &Known<'_>,
) -> (Vec<End>, Delivery, f64) {
    let expected = "\"capsule.input\", a list of those, or { to = \"capsule.input\", ... }";
    let mut words = Vec::new();
    if let Some(table) = value.get_ref().as_table() {
        let keys = ["to", "delivery", "rate"];
        let section = Section::new(bridge.file, table, value.span(), "a subscription", &keys);
        if !section.has("to") {
            section.missing("to", "an input or a list of inputs: \"capsule.input\"");
        }
        let (delivery, _) = promise(&section);
        return (inputs(&section, "to", known), delivery, rate(&section));
    }
    let items = value.get_ref().as_array().map(|items| items.iter().collect());
    for item in items.unwrap_or_else(|| vec![value]) {
        match item.get_ref().as_str() {
            Some(text) => words.push(Word::new(text, &item.span())),
            None => bridge.expected(item, topic.text, expected),
        }
    }
    let words = words.into_iter();
    let ends = words.filter_map(|word| end(bridge.file, word, "input", known)).collect();
    (ends, Delivery::Latest, 1.0)
}

/// Notes an MQTT topic that one cannot publish to.
fn check_topic(file: &File<'_>, topic: Word<'_>) {
    let what = match topic.text {
        "" => "is empty",
        text if text.len() > MQTT_TOPIC => "is longer than 256 bytes",
        text if text.contains(['+', '#']) => "has a wildcard: write a topic for each input",
        text if text.starts_with('$') => "begins with `$`, which is the broker's",
        text if text.chars().any(char::is_control) => "has a control character",
        _ => return,
    };
    file.fault(&topic.span(), format!("the MQTT topic `{}` {what}", topic.text.escape_debug()));
}
