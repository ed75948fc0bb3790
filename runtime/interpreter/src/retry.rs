//! Which retrier or catcher an error meets, and how long a retry waits.
//!
//! Refuses a clock and randomness: the draw for jitter is an argument.

use stepwell_flow::program::{Catcher, Retrier};
use stepwell_types::Failure;

/// Whether one of the names of an `ErrorEquals` means this failure.
///
/// `of_branch`: it comes from a branch of a Parallel or an iteration of a Map.
pub(crate) fn matches(names: &[std::sync::Arc<str>], failure: &Failure, of_branch: bool) -> bool {
    let error = &*failure.error;
    // The specification lets nothing handle these two but, for the second, its own name.
    if error == "States.Runtime" || fatal(error) {
        return false;
    }
    names.iter().any(|name| match &**name {
        "States.ALL" => error != "States.DataLimitExceeded",
        "States.TaskFailed" => error != "States.Timeout" && error != "States.DataLimitExceeded",
        "States.Timeout" => error == "States.Timeout" || error == "States.HeartbeatTimeout",
        // CloudFlow's names: see `crate::cloudflow::named`.
        "FnF.ALL" => true,
        "FnF.Timeout" => error == "FnF.TaskTimeout",
        "States.BranchFailed" => of_branch || error == "States.BranchFailed",
        name => name == error,
    })
}

/// Errors by which the engine ends an execution: no flow may carry on.
pub(crate) fn fatal(error: &str) -> bool {
    error == ENDLESS_LOOP || error == TRANSITION_LIMIT
}

/// Too many transitions in a row without a step, wait or callback.
pub(crate) const ENDLESS_LOOP: &str = "Stepwell.EndlessLoop";
/// Too many transitions in all.
pub(crate) const TRANSITION_LIMIT: &str = "Stepwell.TransitionLimit";

/// Index of the first retrier that names this failure.
pub(crate) fn retrier(rules: &[Retrier], failure: &Failure, of_branch: bool) -> Option<usize> {
    rules
        .iter()
        .position(|r| matches(&r.errors, failure, of_branch))
}

/// The first catcher that names this failure.
pub(crate) fn catcher<'a>(
    rules: &'a [Catcher],
    failure: &Failure,
    of_branch: bool,
) -> Option<&'a Catcher> {
    rules
        .iter()
        .find(|c| matches(&c.errors, failure, of_branch))
}

/// Milliseconds before the retry after `used` earlier ones by the same rule.
///
/// `draw`: a fraction in [0, 1), used when the rule asks for full jitter.
pub(crate) fn delay_ms(rule: &Retrier, used: u32, draw: f64) -> u64 {
    let rate = if rule.backoff_rate.is_finite() {
        rule.backoff_rate.max(1.0)
    } else {
        1.0
    };
    // A hundred years: beyond it the exact number no longer matters.
    let ceiling = 3_153_600_000.0_f64;
    let grown = rule.interval_seconds as f64 * rate.powi(i32::try_from(used).unwrap_or(i32::MAX));
    let capped = grown.min(ceiling);
    let capped = rule
        .max_delay_seconds
        .map_or(capped, |max| capped.min(max as f64));
    let jittered = if rule.full_jitter {
        capped * draw
    } else {
        capped
    };
    (jittered * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, error: &str, of_branch: bool, expected: bool) {
        let failure = Failure::new(error, "");
        assert_eq!(
            matches(&[name.into()], &failure, of_branch),
            expected,
            "{name} meets {error}"
        );
    }

    #[test]
    fn names_meet_errors_as_the_specification_says() {
        check("Boom", "Boom", false, true);
        check("Boom", "Bang", false, false);
        check("States.ALL", "Boom", false, true);
        check("States.ALL", "States.Timeout", false, true);
        check("States.ALL", "States.Runtime", false, false);
        check("States.Runtime", "States.Runtime", false, false);
        check("States.ALL", "States.DataLimitExceeded", false, false);
        check(
            "States.DataLimitExceeded",
            "States.DataLimitExceeded",
            false,
            true,
        );
        check("States.TaskFailed", "Boom", false, true);
        check("States.TaskFailed", "States.Timeout", false, false);
        check("States.Timeout", "States.HeartbeatTimeout", false, true);
        check("States.HeartbeatTimeout", "States.Timeout", false, false);
        check("States.BranchFailed", "Boom", true, true);
        check("States.BranchFailed", "Boom", false, false);
        check("States.ALL", ENDLESS_LOOP, false, false);
        check(TRANSITION_LIMIT, TRANSITION_LIMIT, false, false);
    }

    #[test]
    fn delays_grow_and_are_capped() {
        let rule = |max, jitter| Retrier {
            errors: vec![],
            interval_seconds: 3,
            max_attempts: 9,
            backoff_rate: 2.0,
            max_delay_seconds: max,
            full_jitter: jitter,
        };
        for (rule, used, draw, ms) in [
            (rule(None, false), 0, 0.9, 3_000),
            (rule(None, false), 2, 0.9, 12_000),
            (rule(Some(5), false), 1, 0.9, 5_000),
            (rule(Some(5), true), 1, 0.5, 2_500),
            (rule(None, true), 0, 0.0, 0),
            (rule(None, false), u32::MAX, 0.0, 3_153_600_000_000),
        ] {
            assert_eq!(delay_ms(&rule, used, draw), ms);
        }
    }
}
