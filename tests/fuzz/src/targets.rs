//! What is fuzzed: one file a kind of reader.
//!
//! Refuses targets that only another crate's own fuzzers could mend.

mod codec;
mod expression;
mod format;
mod graph;
mod items;
mod language;
mod trigger;

use crate::{Target, seeds};

/// All of them.
pub const ALL: &[Target] = &[
    Target {
        name: "asl-json",
        run: language::text,
        seeds: || [seeds::definitions(&[".json"]), seeds::recorded()].concat(),
        words: language::WORDS,
    },
    Target {
        name: "asl-yaml",
        run: language::yaml,
        seeds: || seeds::definitions(&[".yaml", ".yml"]),
        words: language::WORDS,
    },
    Target {
        name: "cloudflow",
        run: language::text,
        seeds: || seeds::scripts("cloudflow"),
        words: language::CLOUDFLOW_WORDS,
    },
    Target {
        name: "cloudflow-steps",
        run: language::text,
        seeds: || seeds::scripts("steps"),
        words: language::CLOUDFLOW_WORDS,
    },
    Target {
        name: "format",
        run: format::run,
        seeds: || {
            let files = seeds::definitions(&[".json", ".yaml", ".yml"]);
            [files, seeds::scripts("cloudflow"), seeds::scripts("steps")].concat()
        },
        words: language::WORDS,
    },
    Target {
        name: "graph",
        run: graph::run,
        seeds: || {
            let files = seeds::definitions(&[".json", ".yaml", ".yml"]);
            [files, seeds::recorded()].concat()
        },
        words: language::WORDS,
    },
    Target {
        name: "cloudflow-expression",
        run: expression::cloudflow,
        seeds: || seeds::expressions(seeds::cloudflow()),
        words: expression::CLOUDFLOW_WORDS,
    },
    Target {
        name: "jsonpath",
        run: expression::path,
        seeds: || seeds::expressions(seeds::strings(|t| t.starts_with('$'))),
        words: expression::PATH_WORDS,
    },
    Target {
        name: "intrinsic",
        run: expression::intrinsic,
        seeds: || seeds::expressions(seeds::strings(|t| t.starts_with("States."))),
        words: expression::INTRINSIC_WORDS,
    },
    Target {
        name: "jsonata",
        run: expression::jsonata,
        seeds: || seeds::expressions(seeds::jsonata()),
        words: expression::JSONATA_WORDS,
    },
    Target {
        name: "codec-log",
        run: codec::log,
        seeds: codec::log_seeds,
        words: &[],
    },
    Target {
        name: "codec-state",
        run: codec::state,
        seeds: codec::state_seeds,
        words: &[],
    },
    Target {
        name: "trigger",
        run: trigger::run,
        seeds: trigger::seeds,
        words: trigger::WORDS,
    },
    Target {
        name: "items",
        run: items::run,
        seeds: items::seeds,
        words: items::WORDS,
    },
];
