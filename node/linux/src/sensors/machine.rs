//! This machine: `/proc`, `/sys` and the file system of the state directory.

use super::{Reading, Source};
use capmesh_description::{Field, Schema};
use capmesh_wire::Unit;
use capmesh_wire::schema::FieldType;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Cores that are sensors of their own.
const CORES: usize = 8;

/// Temperatures that are sensors.
const TEMPERATURES: usize = 8;

type Found = (Vec<(String, Schema)>, Box<dyn Source>);

/// What there is below `root`. What is not there is said once.
pub(super) fn find(root: &Path, state: &Path) -> Vec<Found> {
    let all: [(&str, Option<Found>); 5] = [
        ("cpu", Cpu::find(root)),
        ("memory", Memory::find(root)),
        ("disk", Disk::find(state)),
        ("network", Network::find(root)),
        ("temperature", Temperatures::find(root)),
    ];
    let found = all.into_iter().filter_map(|(name, found)| {
        if found.is_none() {
            tracing::info!(sensor = name, "this machine does not have it");
        }
        found
    });
    found.collect()
}

pub(super) fn schema(name: &str, fields: &[(&str, FieldType, Unit)]) -> Schema {
    let field = |(name, ty, unit): &(&str, FieldType, Unit)| Field {
        name: (*name).into(),
        ty: *ty,
        unit: *unit,
        optional: false,
        doc: None,
    };
    Schema {
        alias: name.into(),
        path: PathBuf::new(),
        name: name.into(),
        version: 1,
        doc: None,
        fields: fields.iter().map(field).collect(),
    }
}

/// How busy the processor is: a share of all its time, and of each core's.
struct Cpu {
    path: PathBuf,
    /// Time in all and idle, at the last reading: all cores, then each.
    last: Vec<(u64, u64)>,
}

impl Cpu {
    fn find(root: &Path) -> Option<Found> {
        let path = root.join("proc/stat");
        let last = Self::times(&path);
        let load = schema("load", &[("value", FieldType::F32, Unit::Ratio)]);
        let names = (0..last.len()).map(|n| match n {
            0 => "cpu".into(),
            core => format!("cpu{}", core - 1),
        });
        let channels = names.map(|name| (name, load.clone())).collect();
        (!last.is_empty()).then(|| (channels, Box::new(Self { path, last }) as Box<dyn Source>))
    }

    fn times(path: &Path) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("cpu")).take(1 + CORES);
        let times = lines.filter_map(|line| {
            // user nice system idle iowait irq softirq steal; the guests' time is in user's.
            let fields = line.split_ascii_whitespace().skip(1).take(8);
            let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or_default()).collect();
            let idle = fields.get(3)?.saturating_add(fields.get(4).copied().unwrap_or_default());
            Some((fields.iter().sum(), idle))
        });
        times.collect()
    }
}

impl Source for Cpu {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        let times = Self::times(&self.path);
        for (number, (now, last)) in times.iter().zip(&self.last).enumerate() {
            let (all, idle) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
            if all > 0 {
                let load = 1.0 - to_f64(idle.min(all)) / to_f64(all);
                sink(number, &[Some(Reading::Number(load))]);
            }
        }
        self.last = times;
    }
}

/// RAM and swap.
struct Memory {
    path: PathBuf,
}

impl Memory {
    fn find(root: &Path) -> Option<Found> {
        let path = root.join("proc/meminfo");
        let fields = [
            ("total", FieldType::U64, Unit::Byte),
            ("available", FieldType::U64, Unit::Byte),
            ("swap-used", FieldType::U64, Unit::Byte),
        ];
        let channels = vec![("memory".to_owned(), schema("memory", &fields))];
        path.exists().then(|| (channels, Box::new(Self { path }) as Box<dyn Source>))
    }
}

impl Source for Memory {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
            Some(to_f64(kilobytes) * 1_024.0)
        };
        let swap = bytes("SwapTotal").zip(bytes("SwapFree")).map(|(total, free)| total - free);
        let all = [bytes("MemTotal"), bytes("MemAvailable"), swap.or(Some(0.0))];
        sink(0, &all.map(|value| value.map(Reading::Number)));
    }
}

/// The file system that the state is in.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn find(state: &Path) -> Option<Found> {
        // The state directory is made later.
        let path =
            state.ancestors().map(|path| if path == Path::new("") { Path::new(".") } else { path });
        let path = path.into_iter().find(|path| path.exists())?.to_owned();
        rustix::fs::statvfs(&path).ok()?;
        let fields =
            [("total", FieldType::U64, Unit::Byte), ("available", FieldType::U64, Unit::Byte)];
        let channels = vec![("disk".to_owned(), schema("disk", &fields))];
        Some((channels, Box::new(Self { path })))
    }
}

impl Source for Disk {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        let Ok(stat) = rustix::fs::statvfs(&self.path) else { return };
        let size = to_f64(stat.f_frsize);
        let all = [stat.f_blocks, stat.f_bavail].map(|blocks| to_f64(blocks) * size);
        sink(0, &all.map(|value| Some(Reading::Number(value))));
    }
}

/// What all interfaces but the loopback receive and send.
struct Network {
    path: PathBuf,
    last: (Instant, [u64; 2]),
}

impl Network {
    fn find(root: &Path) -> Option<Found> {
        let path = root.join("proc/net/dev");
        let last = (Instant::now(), Self::bytes(&path)?);
        let fields = [
            ("received", FieldType::F64, Unit::BitPerSecond),
            ("sent", FieldType::F64, Unit::BitPerSecond),
        ];
        let channels = vec![("network".to_owned(), schema("network", &fields))];
        Some((channels, Box::new(Self { path, last })))
    }

    /// Bytes received and sent; `None` if there is no interface.
    fn bytes(path: &Path) -> Option<[u64; 2]> {
        let text = fs::read_to_string(path).ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let counters = lines.filter(|(name, _)| name.trim() != "lo").filter_map(|(_, line)| {
            let mut fields = line.split_ascii_whitespace();
            let received: u64 = fields.next()?.parse().ok()?;
            Some([received, fields.nth(7)?.parse().ok()?])
        });
        counters.reduce(|[a, b], [c, d]| [a.wrapping_add(c), b.wrapping_add(d)])
    }
}

impl Source for Network {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        let Some(bytes) = Self::bytes(&self.path) else { return };
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), bytes));
        let seconds = then.elapsed().as_secs_f64();
        // An interface that went takes its counters with it.
        let grown = bytes.iter().zip(before).all(|(now, before)| *now >= before);
        if seconds > 0.0 && grown {
            let rates = bytes.iter().zip(before);
            let rates: Vec<_> = rates
                .map(|(now, before)| Some(Reading::Number(to_f64(now - before) * 8.0 / seconds)))
                .collect();
            sink(0, &rates);
        }
    }
}

/// Thermal zones and the sensors of hwmon drivers.
struct Temperatures {
    /// Files with thousandths of a degree.
    paths: Vec<PathBuf>,
}

impl Temperatures {
    fn find(root: &Path) -> Option<Found> {
        let zones = entries(&root.join("sys/class/thermal"), "thermal_zone");
        let zones = zones.into_iter().map(|zone| zone.join("temp"));
        let chips = entries(&root.join("sys/class/hwmon"), "hwmon").into_iter().flat_map(|chip| {
            entries(&chip, "temp")
                .into_iter()
                .filter(|file| file.to_string_lossy().ends_with("_input"))
        });
        let readable = |path: &PathBuf| Self::celsius(path).is_some();
        let paths: Vec<PathBuf> = zones.chain(chips).filter(readable).take(TEMPERATURES).collect();
        // The same schema as that of the examples.
        let schema = schema("temperature", &[("value", FieldType::F32, Unit::Celsius)]);
        let names = (0..paths.len()).map(|n| format!("temperature{n}"));
        let channels: Vec<_> = names.map(|name| (name, schema.clone())).collect();
        (!paths.is_empty()).then(|| (channels, Box::new(Self { paths }) as Box<dyn Source>))
    }

    fn celsius(path: &Path) -> Option<f64> {
        let thousandths: i32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(f64::from(thousandths) / 1_000.0)
    }
}

impl Source for Temperatures {
    fn read(&mut self, sink: &mut dyn FnMut(usize, &[Option<Reading>])) {
        for (number, path) in self.paths.iter().enumerate() {
            sink(number, &[Self::celsius(path).map(Reading::Number)]);
        }
    }
}

/// What in a folder begins with `prefix`, in order.
fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut paths: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[expect(clippy::cast_precision_loss, reason = "bytes and clock ticks need no more than 53 bits")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that consists of files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn readings(found: &mut Found) -> Vec<(usize, Vec<f64>)> {
        let mut all = Vec::new();
        found.1.read(&mut |number, readings| {
            let numbers = readings.iter().filter_map(|reading| match reading {
                Some(Reading::Number(number)) => Some(*number),
                _ => None,
            });
            all.push((number, numbers.collect()));
        });
        all
    }

    #[test]
    fn load_is_what_is_not_idle_since_the_last_reading() {
        let stat = |user: u32, idle: u32| {
            format!(
                "cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {user} 0 0 {idle} 0 0 0 0 0 0\nintr 5\n"
            )
        };
        let root = machine(&[("proc/stat", &stat(100, 100))]);
        let mut cpu = Cpu::find(root.path()).unwrap();
        let names: Vec<_> = cpu.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cpu", "cpu0"]);
        assert_eq!(readings(&mut cpu), [], "no time has passed");
        fs::write(root.path().join("proc/stat"), stat(130, 110)).unwrap();
        assert_eq!(readings(&mut cpu), [(0, vec![0.75]), (1, vec![0.75])]);
        fs::remove_file(root.path().join("proc/stat")).unwrap();
        assert_eq!(readings(&mut cpu), []);
    }

    #[test]
    fn memory_is_in_bytes() {
        let meminfo = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\nSwapTotal: 20 kB\nSwapFree: 15 kB\n";
        let root = machine(&[("proc/meminfo", meminfo)]);
        let mut memory = Memory::find(root.path()).unwrap();
        assert_eq!(readings(&mut memory), [(0, vec![1_024_000.0, 512_000.0, 5_120.0])]);
    }

    #[test]
    fn the_network_is_all_interfaces_but_one() {
        let dev = |received: u64| {
            format!(
                "Inter-|   Receive\n face |bytes\n  lo: 9 0 0 0 0 0 0 0 9 0\neth0: {received} 1 0 0 0 0 0 0 50 0 0\nwlan0:10 1 0 0 0 0 0 0 20 0 0\n"
            )
        };
        let root = machine(&[("proc/net/dev", &dev(100))]);
        assert_eq!(Network::bytes(&root.path().join("proc/net/dev")), Some([110, 70]));
        let mut network = Network::find(root.path()).unwrap();
        fs::write(root.path().join("proc/net/dev"), dev(5_000)).unwrap();
        let all = readings(&mut network);
        assert!(matches!(&all[..], [(0, rates)] if rates[0] > 0.0 && rates[1] == 0.0), "{all:?}");
        fs::write(root.path().join("proc/net/dev"), dev(10)).unwrap();
        assert_eq!(readings(&mut network), [], "counters that fall are no rate");
    }

    #[test]
    fn temperatures_come_from_zones_and_drivers() {
        let root = machine(&[
            ("sys/class/thermal/thermal_zone0/temp", "41500\n"),
            ("sys/class/thermal/thermal_zone1/temp", "nonsense"),
            ("sys/class/hwmon/hwmon0/temp1_input", "-2000\n"),
            ("sys/class/hwmon/hwmon0/temp1_label", "Core\n"),
        ]);
        let mut temperatures = Temperatures::find(root.path()).unwrap();
        assert_eq!(temperatures.0.len(), 2);
        assert_eq!(readings(&mut temperatures), [(0, vec![41.5]), (1, vec![-2.0])]);
        fs::remove_file(root.path().join("sys/class/hwmon/hwmon0/temp1_input")).unwrap();
        assert_eq!(readings(&mut temperatures), [(0, vec![41.5]), (1, vec![])]);
    }

    #[test]
    fn a_machine_without_anything_has_a_disk() {
        let root = machine(&[]);
        let found = find(root.path(), &root.path().join("not/yet"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0[0].0, "disk");
    }
}
