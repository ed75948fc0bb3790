//! Logs as many lines as its input says.

use stepwell_guest::{Context, Failure, debug, info, warn};

fn flood(_: &Context, lines: u64) -> Result<u64, Failure> {
    for n in 0..lines {
        match n % 3 {
            0 => debug!("line {n} of a flood"),
            1 => info!("line {n} of a flood"),
            _ => warn!("line {n} of a flood"),
        }
    }
    Ok(lines)
}

stepwell_guest::step!(flood);
