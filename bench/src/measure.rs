//! Medians, percentiles, and what the kernel knows of a process or thread.
//!
//! Refuses averages: one slow round on a shared machine would carry them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Clock ticks in a second of `/proc/PID/stat`: fixed in the kernel's interface.
const TICKS_A_SECOND: f64 = 100.0;

/// The middle of some measurements; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 1) => *upper,
        (Some(upper), _) => f64::midpoint(sorted[middle - 1], *upper),
    }
}

/// The value that this share of all is not above; `sorted` ascending, `share` 0 to 1.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into at most millions of samples"
)]
pub fn percentile(sorted: &[u32], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index).map_or(0.0, |us| f64::from(*us))
}

/// A count as a number to divide.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn real(count: u64) -> f64 {
    count as f64
}

/// Processor time of the calling thread so far.
pub fn thread_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .context("the kernel doesn't tell a thread's processor time")?;
    let ns = text.split_whitespace().next().unwrap_or("").parse()?;
    Ok(Duration::from_nanos(ns))
}

/// Processor time of a process so far, in seconds, to a hundredth.
pub fn process_cpu_s(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces; fields count from behind it.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields
            .get(index)
            .context("a short /proc/PID/stat")?
            .parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

/// One number of `/proc/PID/status` or `/proc/PID/io`, e.g. `VmRSS` in KiB.
pub fn process_number(pid: u32, file: &str, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/{file}");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .with_context(|| format!("{path} has no {key}"))?;
    Ok(line.split_whitespace().next().unwrap_or("").parse()?)
}

/// Bytes in all files below a folder. What a log has allocated ahead doesn't count.
pub fn file_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        // A file may go while we look: RocksDB works in the background.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            file_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_and_shares() {
        let check = |values: &[f64], want: f64| assert!((median(values) - want).abs() < 1e-9);
        check(&[], 0.0);
        check(&[3.0], 3.0);
        check(&[9.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 2.5);
        let hundred: Vec<u32> = (1..=100).collect();
        let check = |share, want: f64| assert!((percentile(&hundred, share) - want).abs() < 1e-9);
        check(0.5, 50.0);
        check(0.99, 99.0);
        check(1.0, 100.0);
        assert!(percentile(&[], 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_kernel_tells() {
        let own = std::process::id();
        assert!(process_number(own, "status", "VmRSS").expect("status") > 0);
        assert!(process_cpu_s(own).is_ok());
        assert!(process_number(own, "status", "NoSuchKey").is_err());
    }
}
