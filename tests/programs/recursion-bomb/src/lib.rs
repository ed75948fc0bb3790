//! Calls itself without end.

use stepwell_guest::{Context, Failure};

#[inline(never)]
fn deeper(n: u64) -> u64 {
    if std::hint::black_box(n) == u64::MAX {
        return 0;
    }
    deeper(n + 1) + std::hint::black_box(n)
}

fn recurse(_: &Context, start: u64) -> Result<u64, Failure> {
    Ok(deeper(start))
}

stepwell_guest::step!(recurse);
