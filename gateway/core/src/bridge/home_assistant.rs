//! Devices for Home Assistant: one payload for each node, with all that it has to show (MQTT device
//! discovery, Home Assistant 2024.11 and later).
//!
//! A node's device has its free memory, its instances, a button that starts it anew, and a sensor for each
//! field of each topic that its instances publish to the broker. When an instance moves, its sensors leave
//! one device and join another.

use super::Config;
use super::tap::Taps;
use super::topics::{Place, Topics};
use crate::api::NodeView;
use capmesh_wire::cbor::decode;
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{Schema, Unit};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Components of one device: a payload stays below what brokers take.
const COMPONENTS: usize = 128;

/// The components that Home Assistant was told of, with their platform. One that is gone has to be named
/// once more, with nothing but its platform.
pub(super) type Shown = BTreeMap<String, &'static str>;

/// The device of the gateway.
pub(super) fn gateway(config: &Config, topics: &Topics) -> Value {
    let device = topics.gateway_device();
    let link = json!({
        "p": "binary_sensor", "uniq_id": format!("{device}_connected"), "name": "Connected",
        "dev_cla": "connectivity", "ent_cat": "diagnostic", "stat_t": topics.gateway_status(),
        "pl_on": "online", "pl_off": "offline",
    });
    json!({
        "dev": with_url(config, "/", json!({
            "ids": [device], "name": format!("Gateway {}", config.gateway), "mf": MAKER,
            "mdl": "gateway", "sw": config.version,
        })),
        "o": origin(config),
        "cmps": { "connected": link },
    })
}

/// The device of a node.
pub(super) fn node(
    config: &Config,
    topics: &Topics,
    view: &NodeView,
    taps: &Taps,
    shown: &mut Shown,
) -> Value {
    let device = topics.device(&view.name);
    let mut components = Components { device: &device, map: Map::new(), shown: Shown::new() };
    components.own(topics, view);
    for (place, output, topic, schema) in taps.on(&view.name) {
        let Ok(schema) = decode::<Schema<'_>>(schema) else { continue };
        for field in schema.fields() {
            components.field(place, output, topic, &field);
        }
    }
    let Components { mut map, shown: now, .. } = components;
    for (key, platform) in shown.iter().filter(|(key, _)| !now.contains_key(*key)) {
        map.insert(key.clone(), json!({ "p": platform }));
    }
    *shown = now;
    let path = format!("/#/nodes/{}", view.name);
    let device = with_url(
        config,
        &path,
        json!({
            "ids": [device], "name": view.name, "mf": MAKER, "mdl": view.board, "sw": view.firmware,
            "via_device": topics.gateway_device(),
        }),
    );
    json!({
        "dev": device,
        "o": origin(config),
        "avty": [{ "t": topics.gateway_status() }, { "t": topics.node(&view.name, "status") }],
        "avty_mode": "all",
        "stat_t": topics.node(&view.name, "state"),
        "qos": 1,
        "cmps": map,
    })
}

const MAKER: &str = "Capsule Mesh";

fn origin(config: &Config) -> Value {
    json!({ "name": "capmesh", "sw": config.version })
}

fn with_url(config: &Config, path: &str, mut device: Value) -> Value {
    if let (Some(url), Value::Object(object)) = (&config.url, &mut device) {
        object.insert("cu".to_owned(), format!("{}{path}", url.trim_end_matches('/')).into());
    }
    device
}

struct Components<'d> {
    device: &'d str,
    map: Map<String, Value>,
    shown: Shown,
}

impl Components<'_> {
    fn add(&mut self, key: String, platform: &'static str, mut component: Value) {
        if self.map.len() >= COMPONENTS {
            return;
        }
        if let Value::Object(object) = &mut component {
            object.insert("p".to_owned(), platform.into());
            object.insert("uniq_id".to_owned(), format!("{}_{key}", self.device).into());
        }
        self.shown.insert(key.clone(), platform);
        self.map.insert(key, component);
    }

    /// What every node has.
    fn own(&mut self, topics: &Topics, view: &NodeView) {
        let of_state = [
            ("ram_free", "Free RAM", Some("B"), Some("data_size")),
            ("flash_free", "Free flash", Some("B"), Some("data_size")),
            ("instances", "Instances", None, None),
        ];
        for (key, name, unit, class) in of_state {
            let mut component = json!({
                "name": name, "ent_cat": "diagnostic", "stat_cla": "measurement",
                "val_tpl": format!("{{{{ value_json.{key} }}}}"),
            });
            if let (Value::Object(object), Some(unit), Some(class)) = (&mut component, unit, class)
            {
                object.insert("unit_of_meas".to_owned(), unit.into());
                object.insert("dev_cla".to_owned(), class.into());
            }
            self.add(key.to_owned(), "sensor", component);
        }
        self.add(
            "reboot".to_owned(),
            "button",
            json!({
                "name": "Start anew", "dev_cla": "restart", "ent_cat": "config",
                "cmd_t": topics.node(&view.name, "cmd"), "pl_prs": r#"{"op":"reboot"}"#,
            }),
        );
    }

    /// A field of a topic.
    fn field(&mut self, place: &Place, output: &str, topic: &str, field: &Field<'_>) {
        let capsule = place.capsule();
        // Names have hyphens, so that underscores keep them apart.
        let key = format!("{capsule}_{output}_{}", field.name);
        let name = format!("{} {output} {}", place.name, field.name);
        let value = format!("value_json['{}']", field.name);
        let mut component = json!({ "name": name, "stat_t": topic });
        let Value::Object(object) = &mut component else { return };
        let platform = match field.ty {
            FieldType::Bytes(_) => return,
            FieldType::Bool => {
                let template = format!("{{{{ 'ON' if {value} else 'OFF' }}}}");
                object.insert("val_tpl".to_owned(), template.into());
                "binary_sensor"
            }
            FieldType::Text(_) => {
                object.insert("val_tpl".to_owned(), format!("{{{{ {value} }}}}").into());
                "sensor"
            }
            _ => {
                object.insert("val_tpl".to_owned(), format!("{{{{ {value} }}}}").into());
                object.insert("stat_cla".to_owned(), "measurement".into());
                let (unit, class) = unit(field.unit);
                object.extend(unit.map(|unit| ("unit_of_meas".to_owned(), unit.into())));
                object.extend(class.map(|class| ("dev_cla".to_owned(), class.into())));
                "sensor"
            }
        };
        self.add(key, platform, component);
    }
}

/// What Home Assistant calls a unit, and the class of sensor that it expects with it.
const fn unit(unit: Unit) -> (Option<&'static str>, Option<&'static str>) {
    match unit {
        Unit::None | Unit::Count | Unit::Ratio => (None, None),
        Unit::Celsius => (Some("°C"), Some("temperature")),
        Unit::Kelvin => (Some("K"), Some("temperature")),
        Unit::RelativeHumidity => (Some("%"), Some("humidity")),
        Unit::BatteryPercent => (Some("%"), Some("battery")),
        Unit::RatioPercent | Unit::Percent => (Some("%"), None),
        Unit::Pascal => (Some("Pa"), Some("pressure")),
        Unit::Hectopascal => (Some("hPa"), Some("pressure")),
        Unit::Volt => (Some("V"), Some("voltage")),
        Unit::Millivolt => (Some("mV"), Some("voltage")),
        Unit::Ampere => (Some("A"), Some("current")),
        Unit::Milliampere => (Some("mA"), Some("current")),
        Unit::Watt => (Some("W"), Some("power")),
        Unit::Kilowatt => (Some("kW"), Some("power")),
        Unit::Lux => (Some("lx"), Some("illuminance")),
        Unit::Hertz => (Some("Hz"), Some("frequency")),
        Unit::Megahertz => (Some("MHz"), Some("frequency")),
        Unit::Second => (Some("s"), Some("duration")),
        Unit::Millisecond => (Some("ms"), Some("duration")),
        Unit::MetrePerSecond => (Some("m/s"), Some("speed")),
        Unit::Byte => (Some("B"), Some("data_size")),
        Unit::Kibibyte => (Some("KiB"), Some("data_size")),
        Unit::Gigabyte => (Some("GB"), Some("data_size")),
        Unit::BytePerSecond => (Some("B/s"), Some("data_rate")),
        Unit::BitPerSecond => (Some("bit/s"), Some("data_rate")),
        Unit::DecibelMilliwatt => (Some("dBm"), Some("signal_strength")),
        Unit::MicrogramPerCubicMetre => (Some("µg/m³"), None),
        Unit::PerSecond => (Some("1/s"), None),
        other => (Some(other.name()), None),
    }
}
