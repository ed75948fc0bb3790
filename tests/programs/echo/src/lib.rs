//! Gives back its input, as text.

use stepwell_guest::{Context, Failure};

fn echo(_: &Context, input: String) -> Result<String, Failure> {
    Ok(input)
}

stepwell_guest::step_text!(echo);
