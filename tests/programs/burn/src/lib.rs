//! Counts to its input before it answers: work of a chosen length.

use stepwell_guest::{Context, Failure};

fn burn(_: &Context, turns: u64) -> Result<u64, Failure> {
    let mut n = 0u64;
    for turn in 0..turns {
        n = std::hint::black_box(n.wrapping_add(turn));
    }
    Ok(n)
}

stepwell_guest::step!(burn);
