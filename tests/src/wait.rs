//! How the suites wait for what must come: they look, and count looks.
//!
//! Refuses bounds in seconds: a busy machine looks late, and has not looked less for it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock; the rule is for the runtime"
)]

use std::sync::{Condvar, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};

/// How long all pauses between looks are together. Only what never comes takes so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often something is tried that may go otherwise.
const TRIES: u32 = 100;

/// Looks until there is something, for three minutes of looking.
///
/// # Errors
/// It does not come, or cannot be looked for.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(Duration::from_millis(40), what, look)
}

/// The same with another pause between looks.
///
/// # Errors
/// As [`until`].
pub fn until_every<T>(
    pause: Duration,
    what: &str,
    look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let looks = PATIENCE.as_millis() / pause.as_millis().max(1);
    looked(looks, pause, what, look)
}

/// Tries until one is as wanted, where a look is work of its own, as a run is.
///
/// # Errors
/// None of a hundred is, or it cannot be tried.
pub fn until_tried<T>(what: &str, attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    looked(TRIES.into(), Duration::from_millis(200), what, attempt)
}

fn looked<T>(
    looks: u128,
    pause: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    for _ in 0..looks {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::sleep(pause);
    }
    bail!("{what} did not come")
}

/// Waits until what is told of by `changed` is so, as patiently as [`until`].
///
/// # Errors
/// It does not come.
pub fn until_told<'a, T>(
    what: &str,
    changed: &Condvar,
    mut now: MutexGuard<'a, T>,
    so: impl Fn(&T) -> bool,
) -> Result<MutexGuard<'a, T>> {
    for _ in 0..PATIENCE.as_secs() {
        let waited = changed.wait_timeout_while(now, Duration::from_secs(1), |now| !so(now));
        let (then, late) = waited.unwrap_or_else(|e| e.into_inner());
        if !late.timed_out() {
            return Ok(then);
        }
        now = then;
    }
    bail!("{what} did not come")
}
