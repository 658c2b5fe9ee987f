//! What is shown to people.

use capmesh_wire::log::{Level, LogLine};
use capmesh_wire::{Claim, NodeId};
use qrcodegen::{QrCode, QrCodeEcc};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

/// Two modules above each other in one character, dark on light: terminals are mostly dark.
const HALVES: [[&str; 2]; 2] = [["█", "▀"], ["▄", " "]];

/// Light modules around a code, which readers want.
const QUIET: i32 = 2;

/// Says on standard output where the node is and who, one fact in a line; and shows the claim as a QR
/// code on standard error if that is a terminal.
pub(crate) fn introduce(address: SocketAddr, claim: &Claim, id: NodeId) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening {address}\nclaim {claim}\nnode {id}")?;
    out.flush()?;
    if io::stderr().is_terminal()
        && let Some(code) = qr(&claim.to_string())
    {
        eprintln!("\n{code}");
    }
    Ok(())
}

/// Sends the log to standard error.
pub(crate) fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CAPMESH_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Whoever runs several nodes in one process has a log already.
    let _ = subscriber.try_init();
}

/// Puts a line of the node's log into this process's. Returns the number of the next one.
pub(crate) fn tell(line: &LogLine<'_>) -> u32 {
    let instance = line.instance.map(|id| format!(" (instance {id})")).unwrap_or_default();
    // A capsule's words must not move the cursor.
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let text: String = line.text.as_str().chars().map(shown).collect();
    match line.level {
        Level::Error => tracing::error!("{text}{instance}"),
        Level::Warning => tracing::warn!("{text}{instance}"),
        Level::Info => tracing::info!("{text}{instance}"),
        Level::Debug | Level::Unknown(_) => tracing::debug!("{text}{instance}"),
    }
    line.number.saturating_add(1)
}

fn qr(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let end = code.size() + QUIET;
    let mut lines = String::new();
    for y in (-QUIET..end).step_by(2) {
        for x in -QUIET..end {
            let [upper, lower] = [y, y + 1].map(|y| usize::from(code.get_module(x, y)));
            let half = HALVES.get(upper).and_then(|row| row.get(lower)).copied();
            lines.push_str(half.unwrap_or_default());
        }
        lines.push('\n');
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_becomes_a_square() {
        let code = qr("CM1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567").unwrap();
        let lines: Vec<&str> = code.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|char| char == '█'), "quiet above");
    }
}
