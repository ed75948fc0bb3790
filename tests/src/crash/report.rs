//! What a run found: breaches by rule, and figures.
//!
//! Refuses to decide what is a breach: the load and the checkers do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Breaches of each rule that the text shows, and how much of each.
const SHOWN: usize = 5;
const SHOWN_CHARS: usize = 800;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Whatever was accepted is there, and only what was asked for.
    Accepted,
    /// It ends, once, and stays as it ended.
    Ended,
    /// It ends as it must.
    Outcome,
    /// What a client saw is in the history.
    Seen,
    /// Tokens and their answers survive.
    Token,
    /// Calls happen for a reason, under one key, and not again once answered.
    Call,
    /// A wished child ran once and told its parent once; none outlives a parent that was cancelled.
    Child,
    /// A counter is the number of steps that counted and succeeded.
    Kept,
    /// A secret's value goes where it must, and is in no file.
    Secret,
    /// No limit of a target is exceeded.
    Turn,
    /// Usage is the sum of the histories.
    Usage,
    /// Answers are as the API says.
    Protocol,
}

/// Collects breaches and counts, from many tasks at once.
#[derive(Debug, Default)]
pub struct Report(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    breaches: Vec<(Rule, String)>,
    figures: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Notes a breach.
    pub fn breach(&self, rule: Rule, text: impl Into<String>) {
        self.inner(|inner| inner.breaches.push((rule, text.into())));
    }

    /// Notes a breach unless `holds`.
    pub fn check(&self, holds: bool, rule: Rule, text: impl FnOnce() -> String) {
        if !holds {
            self.breach(rule, text());
        }
    }

    /// Adds to a figure.
    pub fn count(&self, figure: &'static str, count: u64) {
        self.inner(|inner| *inner.figures.entry(figure).or_insert(0) += count);
    }

    /// Raises a figure to `count`, if it is below.
    pub fn most(&self, figure: &'static str, count: u64) {
        self.inner(|inner| {
            let most = inner.figures.entry(figure).or_insert(0);
            *most = count.max(*most);
        });
    }

    /// A figure's value.
    #[must_use]
    pub fn figure(&self, figure: &str) -> u64 {
        self.inner(|inner| inner.figures.get(figure).copied().unwrap_or(0))
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn broken(&self, rule: Rule) -> usize {
        self.inner(|inner| inner.breaches.iter().filter(|(r, _)| *r == rule).count())
    }

    /// Whether every rule held.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.inner(|inner| inner.breaches.is_empty())
    }

    /// Figures, and the first breaches of each rule.
    #[must_use]
    pub fn text(&self) -> String {
        self.inner(|inner| {
            let mut text = String::new();
            for (figure, count) in &inner.figures {
                text.push_str(&format!("  {figure}: {count}\n"));
            }
            let mut shown: BTreeMap<Rule, usize> = BTreeMap::new();
            for (rule, breach) in &inner.breaches {
                let count = shown.entry(*rule).or_insert(0);
                *count += 1;
                if *count <= SHOWN {
                    let start: String = breach.chars().take(SHOWN_CHARS).collect();
                    text.push_str(&format!("  BREACH {rule:?}: {start}\n"));
                }
            }
            for (rule, count) in shown {
                text.push_str(&format!("  {rule:?} broken {count} times\n"));
            }
            text
        })
    }

    fn inner<T>(&self, with: impl FnOnce(&mut Inner) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
