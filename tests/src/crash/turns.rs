//! Compares the calls that came in by the receiver's narrow and slow doors with the limits that the
//! server's configuration sets.
//!
//! Refuses to know when a call was let go: it knows when the process that sent it lived.

use std::time::Duration;

use super::receiver::{Call, Door, Receiver};
use super::report::{Report, Rule};

/// Calls at once by the narrow door.
const NARROW: usize = 3;
/// Calls a second by the slow door, and how many at once after a pause.
const PER_SECOND: u32 = 20;
const BURST: u32 = 4;

/// The limits, as the server's configuration says them.
#[must_use]
pub fn config(receiver: &Receiver) -> String {
    format!(
        "[limits.hosts.\"{}\"]\nconcurrency = {NARROW}\n[limits.hosts.\"{}\"]\nper_second = {PER_SECOND}\nburst = {BURST}\n",
        receiver.door(Door::Narrow),
        receiver.door(Door::Slow),
    )
}

/// Checks the calls of every process; `lives` says how long each was there.
pub fn check(lives: &[Duration], calls: &[Call], report: &Report) {
    let mut slow = vec![0_u32; lives.len()];
    for call in calls {
        match call.door {
            Door::Wide => {}
            Door::Narrow => {
                report.count("calls by the narrow door", 1);
                report.most("most calls at once by the narrow door", call.at_once as u64);
                report.check(call.at_once <= NARROW, Rule::Turn, || {
                    let (key, at_once) = (&call.key, call.at_once);
                    format!("{key} was one of {at_once} at once, not of {NARROW}")
                });
            }
            Door::Slow => {
                report.count("calls by the slow door", 1);
                let life = usize::try_from(call.generation).unwrap_or(usize::MAX);
                if let Some(count) = slow.get_mut(life) {
                    *count += 1;
                }
            }
        }
    }
    for (life, count) in lives.iter().zip(slow) {
        let most = f64::from(BURST) + f64::from(PER_SECOND) * life.as_secs_f64();
        report.check(f64::from(count) <= most, Rule::Turn, || {
            format!("a process that lived {life:?} sent {count} calls by the slow door")
        });
    }
}
