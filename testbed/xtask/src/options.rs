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

/// For a chore that compares what it builds with what is committed: whether to write it instead (`--write`).
/// Neither after `--help`.
pub(crate) fn write(mut args: lexopt::Parser, help: &str) -> Result<Option<bool>> {
    let mut is_writing = false;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("write") => is_writing = true,
            Arg::Long("help") | Arg::Short('h') => {
                println!("{help}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(is_writing))
}
