//! Takes and gives back as many mebibytes as its input says, ten times over.

use stepwell_guest::{Context, Failure};

fn take(_: &Context, mebibytes: usize) -> Result<usize, Failure> {
    let mut sum = 0;
    for turn in 0..10u8 {
        let block = std::hint::black_box(vec![turn; mebibytes << 20]);
        sum += block
            .iter()
            .step_by(4096)
            .map(|b| usize::from(*b))
            .sum::<usize>();
    }
    Ok(sum)
}

stepwell_guest::step!(take);
