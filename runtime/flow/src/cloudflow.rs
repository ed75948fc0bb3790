//! The CloudFlow language `Type: StateMachine`: the tree to a checked [`Program`].
//!
//! As in [`crate::asl`], every check goes on after a problem with a stand-in value.
//! Refuses to know how states run.
//! Source: alibabacloud.com, help of CloudFlow: "Flow definition".

mod action;
mod distributed;
mod failure;
mod graph;
mod http;
mod map;
mod start;
mod state;

use stepwell_types::limits;

use crate::check;
use crate::diagnostic::{Read, Report, code};
use crate::document::{At, Node, Tree};
use crate::fdl::{Notes, Root, Roots};
use crate::program::{Graph, Program, State, StateIdx};
use crate::resource::Resolve;

const FLOW_FIELDS: &[&str] = &[
    "Type",
    "SpecVersion",
    "Name",
    "Description",
    "StartAt",
    "States",
];

/// Of a whole flow: the grammar lists them, and what they mean is not told.
const CONSTRUCTORS: [&str; 2] = ["InputConstructor", "OutputConstructor"];

/// What `InputConstructor`, `Parameters`, conditions and the like can read.
const BEFORE: Roots = Roots {
    here: &[
        ("Input", Root::Input),
        ("Context", Root::Context),
        ("Global", Root::Global),
    ],
    elsewhere: &[
        ("Output", "OutputConstructor and GlobalConstructor"),
        ("Item", "ItemConstructor"),
    ],
};
/// What the `OutputConstructor` of a rule of `Catch` can read.
const FAILED: Roots = Roots {
    elsewhere: &[
        (
            "Output",
            "OutputConstructor and GlobalConstructor of the state itself: a state that failed has no output",
        ),
        ("Item", "ItemConstructor"),
    ],
    ..BEFORE
};
/// What `OutputConstructor` and `GlobalConstructor` can read.
const AFTER: Roots = Roots {
    here: &[
        ("Input", Root::Input),
        ("Output", Root::Output),
        ("Context", Root::Context),
        ("Global", Root::Global),
    ],
    elsewhere: &[("Item", "ItemConstructor")],
};
/// What `ItemConstructor` can read.
const ITEM: Roots = Roots {
    here: &[
        ("Item", Root::Item),
        ("Input", Root::Input),
        ("Context", Root::Context),
        ("Global", Root::Global),
    ],
    elsewhere: &[("Output", "OutputConstructor and GlobalConstructor")],
};

/// What is being built, and where problems go.
struct Compiler<'r> {
    report: &'r mut Report,
    resolve: &'r dyn Resolve,
    /// A slot for each state, in the order of the source.
    states: Vec<Option<State>>,
    graphs: Vec<Option<Graph>>,
    notes: Notes,
    /// What expressions read of names that the flow sets, and in which state.
    reads: Vec<(Option<StateIdx>, Read)>,
}

/// Whether a document is written in this language.
pub(crate) fn is(root: &Node) -> bool {
    let at = At::root(root);
    let states = at.get("States");
    at.get("Type")
        .is_some_and(|t| matches!(&t.node.tree, Tree::Text(t) if **t == *"StateMachine"))
        || at.get("SpecVersion").is_some()
        || states.is_some_and(|s| matches!(s.node.tree, Tree::List(_)))
}

/// Reports a flow whose `States` are the only thing of this language in it: a list by a slip,
/// perhaps, of names and states. `true`: nothing else is said of it.
fn mixed(at: &At<'_, '_>, report: &mut Report) -> bool {
    let Some(states) = at.get("States") else {
        return false;
    };
    let nameless = states
        .elements()
        .iter()
        .enumerate()
        .all(|(i, state)| states.element(i, state).get("Name").is_none());
    let mixed = nameless
        && !states.elements().is_empty()
        && at.get("Type").is_none()
        && at.get("SpecVersion").is_none();
    if mixed {
        report.error_hint(
            &states,
            code::WRONG_TYPE,
            "States is an array, and this is no flow of CloudFlow".to_owned(),
            Some("in Amazon States Language States is an object of states by name; in CloudFlow it is an array of states with a Name, beside Type: StateMachine and SpecVersion: v1".to_owned()),
        );
    }
    mixed
}

/// Checks and compiles one definition. What it returns counts only if nothing
/// was reported as an error.
pub(crate) fn compile(root: &Node, resolve: &dyn Resolve, report: &mut Report) -> Option<Program> {
    report.cloudflow = true;
    let at = At::root(root);
    if mixed(&at, report) {
        return None;
    }
    let count = graph::count(&at);
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
        notes: Notes::default(),
        reads: Vec::new(),
    };
    let comment = compiler.flow(&at);
    let mut reads = compiler.reads;
    let program = Program {
        comment,
        timeout_seconds: None,
        mode: crate::program::Mode::Standard,
        states: compiler.states.into_iter().collect::<Option<_>>()?,
        graphs: compiler.graphs.into_iter().collect::<Option<_>>()?,
        grants: crate::program::TaskGrants::default(),
    };
    reads.extend(report.reads.drain(..).map(|read| (None, read)));
    crate::fdl::unset(&program, &reads, crate::fdl::Kept::Global, report);
    Some(program)
}

impl<'t> Compiler<'_> {
    fn flow(&mut self, at: &At<'_, 't>) -> Option<String> {
        check::known_fields(self.report, at, "the flow", &[FLOW_FIELDS, &CONSTRUCTORS]);
        for name in CONSTRUCTORS {
            if let Some(field) = at.get(name) {
                self.report.error_hint(
                    &field,
                    code::NOT_SUPPORTED,
                    format!("the {name} of a whole flow is not supported: CloudFlow's documents don't show what it reads"),
                    Some(format!("give the first state an InputConstructor, or each that ends the flow an OutputConstructor, in place of the flow's {name}")),
                );
            }
        }
        for (name, only) in [("Type", "StateMachine"), ("SpecVersion", "v1")] {
            if let Some(field) = check::required(self.report, at, "the flow", name) {
                check::word(self.report, &field, &[only]);
            }
        }
        let comment = crate::fdl::head(
            self.report,
            at,
            ["Type", "Name", "Description"],
            "CloudFlow refuses an input or output of more than 64 KiB; here each may have 32 MiB",
            self.resolve.name(),
        );
        self.graph(at, "the flow", 0);
        comment.map(str::to_owned)
    }

    /// Checks a state's name, and gives it.
    fn name(&mut self, at: &At<'_, 't>) -> Option<&'t str> {
        let name = check::text(self.report, at)?;
        crate::fdl::check_state_name(self.report, at, name);
        Some(name)
    }
}
