//! Takes memory until there is none.

use serde_json::Value;
use stepwell_guest::{Context, Failure};

fn bomb(_: &Context, _: Value) -> Result<usize, Failure> {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1u8; 4 << 20]));
        if all.len() == usize::MAX {
            return Ok(all.len());
        }
    }
}

stepwell_guest::step!(bomb);
