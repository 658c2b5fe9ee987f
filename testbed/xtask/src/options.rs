//! Command lines.

use anyhow::Result;
use lexopt::Arg;

/// For a chore without options: whether to go on. It does not after `--help`.
pub(crate) fn none(mut args: lexopt::Parser, help: &str) -> Result<bool> {
    match args.next()? {
        None => Ok(true),
        Some(Arg::Long("help") | Arg::Short('h')) => {
            println!("{help}");
            Ok(false)
        }
        Some(other) => Err(other.unexpected().into()),
    }
}
