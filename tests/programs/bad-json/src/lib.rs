//! Answers with text that is not JSON.

use stepwell_guest::{Context, Failure};

fn bad(_: &Context, _: String) -> Result<String, Failure> {
    Ok("{\"half\": ".into())
}

stepwell_guest::step_text!(bad);
