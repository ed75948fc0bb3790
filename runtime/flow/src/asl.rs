//! Amazon States Language, JSONPath and JSONata mode: the tree to a checked [`Program`].
//!
//! One state kind per file below. Every check goes on after a problem with a
//! stand-in value, so that all problems come at once; the program is thrown away
//! if there was any. Refuses to know how states run.
//! Source: states-language.net.

mod bridge;
mod child;
mod choice;
mod distributed;
mod expect;
mod fail;
mod fields;
mod fit;
mod graph;
mod http;
mod map;
mod pass;
mod retry;
mod service;
mod state;
mod task;
mod variables;
mod wait;
mod ways;

pub(crate) use service::connection_name;

use std::collections::{HashMap, HashSet};

use stepwell_types::limits;

use crate::diagnostic::{Report, code};
use crate::document::{At, Node, Position, Tree};
use crate::expression::QueryLanguage;
use crate::program::{Graph, Program, State};
use crate::resource::Resolve;

/// Fields of the whole flow.
const FLOW_FIELDS: &[&str] = &[
    "Comment",
    "QueryLanguage",
    "StartAt",
    "States",
    "TimeoutSeconds",
    "Version",
];

/// What is being built, and where problems go.
struct Compiler<'t, 'r> {
    report: &'r mut Report,
    resolve: &'r dyn Resolve,
    /// A slot for each state, in the order of the source.
    states: Vec<Option<State>>,
    graphs: Vec<Option<Graph>>,
    /// Every state's name and place: names are unique in the whole flow.
    names: HashMap<&'t str, Position>,
    /// The flow's own query language: that of its states unless they say another.
    default_language: QueryLanguage,
    /// The query language of what is being compiled.
    language: QueryLanguage,
    /// Variables assigned in each graph around the place, outermost first.
    scopes: Vec<HashSet<&'t str>>,
    /// What the graphs around the place say about variables, outermost first.
    ways: Vec<ways::Ways<'t>>,
    /// The next graph is that of executions of their own.
    apart: bool,
}

/// Checks and compiles one definition. What it returns counts only if nothing
/// was reported as an error.
pub(crate) fn compile(root: &Node, resolve: &dyn Resolve, report: &mut Report) -> Option<Program> {
    let at = At::root(root);
    let count = graph::count(&at, "States");
    if count > limits::STATES_MAX {
        report.error_hint(
            &at,
            code::TOO_MANY_STATES,
            format!(
                "the flow has {count} states; at most {} are allowed",
                limits::STATES_MAX
            ),
            Some("split the flow".to_owned()),
        );
        return None;
    }
    let mut compiler = Compiler {
        report,
        resolve,
        states: std::iter::repeat_with(|| None).take(count).collect(),
        graphs: Vec::new(),
        names: HashMap::with_capacity(count),
        default_language: QueryLanguage::JsonPath,
        language: QueryLanguage::JsonPath,
        scopes: Vec::new(),
        ways: Vec::new(),
        apart: false,
    };
    compiler.names_of(&at);
    let (comment, timeout_seconds) = compiler.flow(&at);
    Some(Program {
        comment,
        timeout_seconds,
        mode: crate::program::Mode::Standard,
        states: compiler.states.into_iter().collect::<Option<_>>()?,
        graphs: compiler.graphs.into_iter().collect::<Option<_>>()?,
        grants: crate::program::TaskGrants::default(),
    })
}

impl<'t> Compiler<'t, '_> {
    fn flow(&mut self, at: &At<'_, 't>) -> (Option<String>, Option<u64>) {
        if !self.is_object(at) {
            return (None, None);
        }
        self.default_language = self.query_language(at);
        self.language = self.default_language;
        self.known_fields(at, "the flow", &[FLOW_FIELDS]);
        if let Some(version) = at.get("Version")
            && let Some(text) = self.text(&version)
            && text != "1.0"
        {
            self.report.error(
                &version,
                code::BAD_VALUE,
                format!("the language has only the Version \"1.0\", not {text:?}"),
            );
        }
        let timeout = at
            .get("TimeoutSeconds")
            .and_then(|t| self.integer(&t, 1, expect::SECONDS_MAX));
        self.graph(at, "the flow", 0);
        // That it is text was checked with the fields.
        let comment = at.get("Comment").and_then(|c| match &c.node.tree {
            Tree::Text(text) => Some(text.to_string()),
            _ => None,
        });
        (comment, timeout)
    }
}
