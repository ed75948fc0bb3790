//! The older CloudFlow language `type: flow`: steps in series become a graph.
//!
//! A step that is not the last leads to the one after it. A Choice whose branches have
//! steps of their own becomes several states: see `choice.rs`. As in [`crate::asl`], every
//! check goes on after a problem with a stand-in value. Refuses to know how states run.
//! Source: alibabacloud.com, help of Serverless Workflow: "Flow definition language".

mod choice;
mod failure;
mod list;
mod mappings;
mod step;
mod task;

use std::sync::Arc;

use stepwell_types::limits;

use crate::check;
use crate::diagnostic::{Read, Report, code};
use crate::document::{At, Node, Tree};
use crate::fdl::{FlowMappings, Notes, Root, Roots};
use crate::program::{Graph, Program, State, StateIdx};
use crate::resource::Resolve;

const FLOW_FIELDS: &[&str] = &[
    "version",
    "type",
    "name",
    "description",
    "steps",
    "inputMappings",
    "outputMappings",
    "timeoutSeconds",
];
const VERSIONS: [&str; 3] = ["v1", "v1.0", "v1beta1"];

/// What `inputMappings` can read.
const BEFORE: Roots = Roots {
    here: &[
        ("input", Root::ScopeInput),
        ("local", Root::ScopeLocal),
        ("context", Root::OldContext),
    ],
    elsewhere: &[("", "conditions and collections")],
};
/// What `outputMappings` and `errorMappings` can read.
const AFTER: Roots = Roots {
    here: &[
        ("input", Root::Input),
        ("local", Root::Output),
        ("context", Root::OldContext),
    ],
    elsewhere: &[("", "conditions and collections")],
};
/// What conditions, collections and times of a step can read.
const WITHIN: Roots = Roots {
    here: &[
        ("", Root::Input),
        ("input", Root::Input),
        ("context", Root::OldContext),
    ],
    elsewhere: &[("local", "mappings")],
};
/// What the flow's own `inputMappings` can read.
const FLOW_INPUT: Roots = Roots {
    here: &[("input", Root::ScopeInput), ("context", Root::OldContext)],
    elsewhere: &[("local", "mappings of steps, and outputMappings of the flow")],
};
/// What the flow's own `outputMappings` can read.
const FLOW_OUTPUT: Roots = BEFORE;

/// What is being built, and where problems go.
struct Compiler<'r> {
    report: &'r mut Report,
    resolve: &'r dyn Resolve,
    /// A slot for each state: those of a list of steps together, then what is in them.
    states: Vec<Option<State>>,
    graphs: Vec<Option<Graph>>,
    notes: Notes,
    /// What expressions read of names that the flow sets, and in which state.
    reads: Vec<(Option<StateIdx>, Read)>,
}

/// Whether a document is written in this language.
pub(crate) fn is(root: &Node) -> bool {
    let at = At::root(root);
    at.get("type")
        .is_some_and(|t| matches!(&t.node.tree, Tree::Text(t) if **t == *"flow"))
        || at.get("steps").is_some()
}

/// Checks and compiles one definition. What it returns counts only if nothing
/// was reported as an error.
pub(crate) fn compile(root: &Node, resolve: &dyn Resolve, report: &mut Report) -> Option<Program> {
    report.cloudflow = true;
    let at = At::root(root);
    let mut compiler = Compiler {
        report,
        resolve,
        states: Vec::new(),
        graphs: Vec::new(),
        notes: Notes::default(),
        reads: Vec::new(),
    };
    let (comment, timeout_seconds) = compiler.flow(&at);
    if compiler.states.len() > limits::STATES_MAX {
        return None;
    }
    let mut reads = compiler.reads;
    let program = Program {
        comment,
        timeout_seconds,
        mode: crate::program::Mode::Standard,
        states: compiler.states.into_iter().collect::<Option<_>>()?,
        graphs: compiler.graphs.into_iter().collect::<Option<_>>()?,
        grants: crate::program::TaskGrants::default(),
    };
    reads.extend(report.reads.drain(..).map(|read| (None, read)));
    crate::fdl::unset(&program, &reads, crate::fdl::Kept::Local, report);
    Some(program)
}

impl<'t> Compiler<'_> {
    fn flow(&mut self, at: &At<'_, 't>) -> (Option<String>, Option<u64>) {
        check::known_fields(self.report, at, "the flow", &[FLOW_FIELDS]);
        for (name, words) in [("type", &["flow"][..]), ("version", &VERSIONS[..])] {
            if let Some(field) = check::required(self.report, at, "the flow", name) {
                check::word(self.report, &field, words);
            }
        }
        let comment = crate::fdl::head(
            self.report,
            at,
            ["type", "name", "description"],
            "CloudFlow refuses a step whose input, output and $local exceed 32 KiB together; here each may have 32 MiB",
            self.resolve.name(),
        );
        let timeout = at
            .get("timeoutSeconds")
            .and_then(|t| check::integer(self.report, &t, 1, crate::fdl::SECONDS_MAX));
        let mappings = FlowMappings {
            input: self.mappings(at, "inputMappings", FLOW_INPUT),
            output: self.mappings(at, "outputMappings", FLOW_OUTPUT),
        };
        let given = mappings.input.is_some() || mappings.output.is_some();
        let flow = given.then(|| Arc::new(mappings));
        if let Some(steps) = check::required(self.report, at, "the flow", "steps") {
            self.list(&steps, flow.as_ref());
        }
        (comment.map(str::to_owned), timeout)
    }

    /// A new slot; nothing is put there once the flow is too large.
    fn slot(&mut self, at: &At<'_, 't>) -> StateIdx {
        let index = self.states.len();
        if index <= limits::STATES_MAX {
            self.states.push(None);
        }
        if index == limits::STATES_MAX {
            self.report.error_hint(
                at,
                code::TOO_MANY_STATES,
                format!("the flow has more than {} steps", limits::STATES_MAX),
                Some("split the flow".to_owned()),
            );
        }
        StateIdx(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn put(&mut self, index: StateIdx, state: Option<State>) {
        if let Some(slot) = self.states.get_mut(index.0 as usize) {
            *slot = state;
        }
    }
}
