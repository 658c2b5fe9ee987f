//! What the operating system is asked for: cores, and the time that programs have had of them.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

/// Keeps this thread, and programs that it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| {
        io::Error::other(format!("core {core} cannot be had (see --server-core): {error}"))
    })
}

/// Puts a program before all others of its core.
pub(crate) fn hurry(process: u32) -> io::Result<()> {
    let status = Command::new("chrt").args(["-f", "-p", "10", &process.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("--realtime needs root")) }
}

/// The processor time that a program has had, in steps of 10 ms.
pub(crate) fn processor_time(process: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold anything; behind it utime and stime are fields 12 and 13.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * (1_000_000_000 / per_second.max(1))))
}
