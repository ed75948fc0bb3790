//! Step: writes down who decided what about a claim.
//!
//! Refuses a decision on one's own claim: a reviewer who is also the claimant is
//! an error with a name, which the flow routes to somebody else.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// Who wants the money.
    claimant: String,
    /// In cents.
    amount_cents: u64,
    /// How it was decided: by rule or by a person.
    approved: bool,
    /// Who decided.
    by: String,
    /// Why, in the decider's words.
    #[serde(default)]
    note: Option<String>,
}

/// What the flow gets, and answers with.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `APPROVED` or `REJECTED`.
    decision: &'static str,
    /// One sentence for the claimant.
    text: String,
    /// The same for every attempt of this step: booking it twice is seen.
    booking: String,
}

fn run(context: &Context, input: Input) -> Result<Output, Failure> {
    if input.by == input.claimant {
        let cause = format!("{} cannot decide on a claim of their own", input.by);
        return Err(Failure::new("Approval.OwnClaim", cause));
    }
    let (decision, verb) = match input.approved {
        true => ("APPROVED", "approved"),
        false => ("REJECTED", "rejected"),
    };
    let (whole, cents) = (input.amount_cents / 100, input.amount_cents % 100);
    let mut text = format!(
        "{}: {whole}.{cents:02} {verb} by {}",
        input.claimant, input.by
    );
    if let Some(note) = input.note {
        text.push_str(": ");
        text.push_str(&note);
    }
    Ok(Output {
        decision,
        text,
        booking: context.idempotency_key.clone(),
    })
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_written_down() {
        let check = |by: &str, approved: bool, expected: Result<&str, &str>| {
            let input = Input {
                claimant: "ada".into(),
                amount_cents: 123_405,
                approved,
                by: by.into(),
                note: None,
            };
            let done = run(&Context::for_test(), input);
            let done = done
                .as_ref()
                .map(|o| o.text.as_str())
                .map_err(|f| f.error.as_str());
            assert_eq!(done, expected);
        };
        check("grace", true, Ok("ada: 1234.05 approved by grace"));
        check("rule", false, Ok("ada: 1234.05 rejected by rule"));
        check("ada", true, Err("Approval.OwnClaim"));
    }
}
