//! Answers with a JSON string of as many bytes as its input says.

use stepwell_guest::{Context, Failure};

fn big(_: &Context, input: String) -> Result<String, Failure> {
    let bytes: usize = input.trim().parse()?;
    Ok(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))))
}

stepwell_guest::step_text!(big);
