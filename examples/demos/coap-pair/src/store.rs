//! OSCORE contexts in directories, in the format that aiocoap keeps them in, so that either side of
//! a pair can be aiocoap: `settings.json` and `secret.json` say what the context is derived from,
//! `sequence.json` how far its sequence numbers are reserved.

use capmesh_oscore::{Context, Parameters, Replay, ReplayWindow, SequenceReservation};
use rand_core::{OsRng, RngCore};
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many sequence numbers are reserved with one write to the disk.
const RESERVE: u32 = 1000;

/// Where the sequence numbers of one context are reserved. No other process uses the context as long
/// as this exists.
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Loads the context in `directory`.
    ///
    /// A context that was in use before has lost its replay window, and asks the other side for a
    /// fresh request before it trusts one (RFC 8613 appendix B.1.2).
    ///
    /// # Errors
    /// If it is in use, or a file of it is missing or not as it should be.
    pub fn open(directory: &Path) -> io::Result<(Context, Self)> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .and_then(|lock| lock.try_lock().map_err(io::Error::from).map(|()| lock))
            .map_err(|error| explain(directory, "it is in use", &error))?;
        let mut settings = read(&directory.join("settings.json"))?.unwrap_or_default();
        settings.extend(read(&directory.join("secret.json"))?.unwrap_or_default());
        let bytes =
            |name| bytes_of(&settings, name).map_err(|error| explain(directory, "", &error));
        let missing = |name: &str| explain(directory, "", &missing(name));
        let master_secret = bytes("secret")?.ok_or_else(|| missing("secret"))?;
        let sender_id = bytes("sender-id")?.ok_or_else(|| missing("sender-id"))?;
        let recipient_id = bytes("recipient-id")?.ok_or_else(|| missing("recipient-id"))?;
        let master_salt = bytes("salt")?.unwrap_or_default();
        let id_context = bytes("id-context")?;
        let parameters = Parameters {
            master_secret: &master_secret,
            master_salt: &master_salt,
            id_context: id_context.as_deref(),
            sender_id: &sender_id,
            recipient_id: &recipient_id,
        };
        let sequence = read(&directory.join("sequence.json"))?;
        let (stored, replay) = match sequence {
            None => (0, Replay::Known(ReplayWindow::EMPTY)),
            Some(sequence) => {
                let next = sequence.get("next-to-send").and_then(Value::as_u64);
                (next.ok_or_else(|| missing("next-to-send"))?, Replay::Lost)
            }
        };
        let sequence = SequenceReservation::stored(stored, RESERVE);
        let context = Context::restore(&parameters, sequence, replay)
            .map_err(|error| explain(directory, "", &io::Error::other(error)))?;
        Ok((context, Self { directory: directory.into(), _lock: lock }))
    }

    /// Notes that numbers below `bound` may be in use. When this returns, a power cut does not undo
    /// it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn reserve(&self, bound: u64) -> io::Result<()> {
        let path = self.directory.join("sequence.json");
        let temporary = self.directory.join(".sequence.json");
        let mut file = File::create(&temporary)?;
        write!(file, "{}", json!({ "next-to-send": bound, "received": "unknown" }))?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Makes the two ends of a new context, with a random secret, in two directories.
///
/// # Errors
/// If they cannot be written.
pub fn create_pair(server: &Path, client: &Path) -> io::Result<()> {
    let (mut secret, mut salt) = ([0; 16], [0; 8]);
    OsRng.fill_bytes(&mut secret);
    OsRng.fill_bytes(&mut salt);
    let secret = json!({ "secret_hex": hex(&secret), "salt_hex": hex(&salt) });
    for (directory, own, other) in [(server, "01", "00"), (client, "00", "01")] {
        fs::create_dir_all(directory)?;
        let settings = json!({ "sender-id_hex": own, "recipient-id_hex": other });
        fs::write(directory.join("settings.json"), settings.to_string())?;
        write_secret(&directory.join("secret.json"), secret.to_string().as_bytes())?;
    }
    Ok(())
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// If it cannot be written, or is there already.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for, or `None` if they are none.
#[must_use]
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let bytes = pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

fn read(path: &Path) -> io::Result<Option<Map<String, Value>>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| explain(path, "", &io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(path, "", &error)),
    }
}

/// A value that is given in hexadecimal digits or in ASCII, as the name's ending says.
fn bytes_of(settings: &Map<String, Value>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let text = |ending| settings.get(&format!("{name}_{ending}")).and_then(Value::as_str);
    match (text("hex"), text("ascii")) {
        (Some(digits), _) => match unhex(digits) {
            None => Err(io::Error::other(format!("{name}_hex is not hexadecimal"))),
            bytes => Ok(bytes),
        },
        (None, ascii) => Ok(ascii.map(|text| text.as_bytes().to_vec())),
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::other(format!("neither {name}_hex nor {name}_ascii is given"))
}

fn explain(path: &Path, what: &str, error: &io::Error) -> io::Error {
    let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
    io::Error::new(error.kind(), format!("{}: {what}{error}", path.display()))
}
