//! Counts passes and failures, also those that other programs print.
//!
//! Refuses to guess: output without a count is one failure.

use anyhow::Result;

/// How many checks passed and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Checks that held.
    pub passed: u64,
    /// Checks that did not.
    pub failed: u64,
}

impl Tally {
    /// One failure.
    pub fn failure() -> Tally {
        Tally {
            passed: 0,
            failed: 1,
        }
    }

    /// Adds another count.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts one check, and says which one failed.
    pub fn check(&mut self, name: &str, done: Result<()>) {
        match done {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                self.failed += 1;
            }
        }
    }
}

/// Reads nextest's `Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped`.
///
/// Whatever ran and did not pass has failed: nextest has several words for it.
pub fn nextest(output: &str) -> Option<Tally> {
    let line = output
        .lines()
        .rfind(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, rest) = line.split_once(']')?;
    let (run, results) = rest.split_once(" run: ")?;
    // `4/5 tests run` after an interruption: the fifth did not pass either.
    let wanted = run.split_whitespace().next()?.rsplit('/').next()?;
    let wanted: u64 = wanted.parse().ok()?;
    let passed = number_before(results, " passed").unwrap_or(0);
    Some(Tally {
        passed,
        failed: wanted.saturating_sub(passed),
    })
}

/// Adds up libtest's `test result: ok. 5 passed; 0 failed; …` lines.
pub fn libtest(output: &str) -> Option<Tally> {
    let mut sum = None;
    for line in output
        .lines()
        .filter(|line| line.starts_with("test result: "))
    {
        let sum = sum.get_or_insert_with(Tally::default);
        sum.add(Tally {
            passed: number_before(line, " passed")?,
            failed: number_before(line, " failed")?,
        });
    }
    sum
}

/// The number that stands right before `word`.
fn number_before(text: &str, word: &str) -> Option<u64> {
    let before = &text[..text.find(word)?];
    before.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_counts_are_read() {
        let check = |text: &str, passed: u64, failed: u64| {
            assert_eq!(nextest(text), Some(Tally { passed, failed }), "{text}");
        };
        check(
            "     Summary [   0.005s] 22 tests run: 22 passed, 0 skipped",
            22,
            0,
        );
        check(
            "Summary [ 9s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 2 skipped",
            3,
            2,
        );
        check(
            "a\n  Summary [ 9s] 4/9 tests run: 3 passed, 1 failed, 0 skipped\nb",
            3,
            6,
        );
        check("  Summary [ 9s] 1 test run: 1 failed, 0 skipped", 0, 1);
        assert_eq!(nextest("error: could not compile"), None);

        let two = "test result: ok. 5 passed; 0 failed; 0 ignored\n\
                   test result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(
            libtest(two),
            Some(Tally {
                passed: 6,
                failed: 2
            })
        );
        assert_eq!(libtest(""), None);
    }
}
