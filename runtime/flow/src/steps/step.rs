//! One step: what all kinds share, and the kinds that are small.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::list::Steps;
use super::{AFTER, BEFORE, Compiler, WITHIN};
use crate::check;
use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::expression::{Expression, Template};
use crate::fdl::{self, Constructors, Fdl, Function, Place, Root};
use crate::given::Here;
use crate::program::{DataFlow, Items, Kind, MapState, Next, State, WaitUntil};
use crate::slip;
use crate::timestamp;

const KINDS: [&str; 8] = [
    "task", "pass", "wait", "choice", "parallel", "foreach", "succeed", "fail",
];
const ALL: &[&str] = &[
    "type",
    "name",
    "description",
    "end",
    "inputMappings",
    "outputMappings",
];

/// Longest wait in CloudFlow's old language, in seconds.
const WAIT_SECONDS_THERE: u64 = 172_800;
/// Most branches of a parallel step, and iterations of a foreach step at once.
const BRANCHES_THERE: u64 = 100;

/// `{}`.
pub(super) fn nothing() -> Template {
    Template::Literal(Value::Object(Map::new()))
}

impl<'t> Compiler<'_> {
    /// Compiles one step; `None` when it is beyond a stand-in.
    pub(super) fn step(&mut self, at: &At<'_, 't>, steps: &mut Steps<'t, '_>) -> Option<State> {
        if !check::is_object(self.report, at) {
            steps.scope.broken = true;
            return None;
        }
        let name = check::required(self.report, at, "a step", "name");
        let name = name.and_then(|n| {
            let text = check::text(self.report, &n)?;
            fdl::check_state_name(self.report, &n, text);
            Some(text)
        });
        let Some(kind) = check::kind(self.report, at, ("step", "type"), &KINDS) else {
            steps.scope.broken = true;
            return None;
        };
        // Without its name a choice is not followed.
        steps.scope.broken |= name.is_none() && kind == "choice";
        let own: &[&str] = match kind {
            "task" => super::task::FIELDS,
            "wait" => &["duration", "timestamp"],
            "choice" => &["choices", "default"],
            "parallel" => &["branches"],
            "foreach" => &["iterationMapping", "steps"],
            "fail" => &["error", "cause"],
            _ => &[],
        };
        check::known_fields(self.report, at, &format!("a {kind} step"), &[ALL, own]);
        self.report.here = Here {
            token: kind == "task" && self.may_wait(at),
            ..Here::default()
        };
        let next = self.next(at, kind, steps);
        let mut data = self.data_flow(at, kind, steps);
        let (retry, catch) = match kind {
            "task" => self.failure(at, &mut steps.scope),
            _ => (Vec::new(), Vec::new()),
        };
        let kind = match kind {
            "task" => Kind::Task(self.task(at, &mut data)?),
            "pass" => Kind::Pass { result: None },
            "wait" => Kind::Wait(self.wait(at)?),
            "choice" => self.choice(at, name?, next, steps, &mut data),
            "parallel" => self.parallel(at),
            "foreach" => Kind::Map(self.foreach(at)?),
            "succeed" => Kind::Succeed,
            _ => self.fail(at),
        };
        let next = match kind {
            Kind::Choice { .. } | Kind::Succeed | Kind::Fail { .. } => Next::ByKind,
            _ => next,
        };
        Some(State {
            name: Arc::from(name?),
            kind,
            next,
            data: DataFlow::CloudFlow(Box::new(data)),
            assign: None,
            retry,
            catch,
        })
    }

    /// Where the step leads; succeed and fail end their list.
    fn next(&mut self, at: &At<'_, 't>, kind: &str, steps: &mut Steps<'t, '_>) -> Next {
        let end = at.get("end").and_then(|e| check::boolean(self.report, &e));
        let ends = end == Some(true) || matches!(kind, "succeed" | "fail");
        let next = if ends { Next::End } else { steps.after };
        // A choice leads on, or ends its list, by its branches.
        match next {
            _ if kind == "choice" => {}
            Next::State(next) => {
                let current = steps.scope.current;
                steps.scope.edges.push((current, next));
            }
            Next::End | Next::ByKind => steps.scope.end(),
        }
        next
    }

    /// The mappings of a step, and what its kind makes of `$local`.
    pub(super) fn data_flow(
        &mut self,
        at: &At<'_, 't>,
        kind: &str,
        steps: &Steps<'t, '_>,
    ) -> Constructors {
        let output = self.mappings(at, "outputMappings", AFTER);
        Constructors {
            steps: Some(fdl::Steps {
                flow: steps.flow.cloned(),
            }),
            input: self.mappings(at, "inputMappings", BEFORE),
            arguments: None,
            // Nothing runs in these, so nothing is in their $local.
            result: match kind {
                "pass" | "wait" | "choice" | "succeed" => Some(nothing()),
                _ => None,
            },
            output: match kind {
                "parallel" | "foreach" => output.or_else(|| Some(nothing())),
                _ => output,
            },
            global: None,
        }
    }

    /// Compiles once more what was reported on already.
    pub(super) fn silently<T>(&self, again: impl FnOnce(&mut Compiler<'_>) -> T) -> T {
        let mut silent = Report::default();
        again(&mut Compiler {
            report: &mut silent,
            resolve: self.resolve,
            states: Vec::new(),
            graphs: Vec::new(),
            notes: fdl::Notes::default(),
            reads: Vec::new(),
        })
    }

    fn wait(&mut self, at: &At<'_, 't>) -> Option<WaitUntil> {
        match (at.get("duration"), at.get("timestamp")) {
            (Some(duration), None) => self.duration(&duration).map(WaitUntil::Seconds),
            (None, Some(moment)) => self.moment(&moment).map(WaitUntil::Timestamp),
            (None, None) => {
                self.report.error(
                    at,
                    code::MISSING_FIELD,
                    "a wait step needs one of the fields duration, timestamp".to_owned(),
                );
                None
            }
            (Some(_), Some(other)) => {
                self.report.error(
                    &other,
                    code::EXCLUSIVE_FIELDS,
                    "duration and timestamp exclude each other".to_owned(),
                );
                None
            }
        }
    }

    fn duration(&mut self, at: &At<'_, 't>) -> Option<Expression> {
        if matches!(at.node.tree, Tree::Text(_)) {
            return self.expression(at, WITHIN);
        }
        let seconds = check::integer(self.report, at, 1, fdl::SECONDS_MAX)?;
        if seconds > WAIT_SECONDS_THERE {
            self.report.note(
                at,
                code::BEYOND_CLOUDFLOW,
                format!("CloudFlow waits at most {WAIT_SECONDS_THERE} seconds in one step"),
            );
        }
        Some(Expression::Literal(seconds.into()))
    }

    fn moment(&mut self, at: &At<'_, 't>) -> Option<Expression> {
        let text = check::text(self.report, at)?;
        if text.starts_with('$') {
            return self.expression(at, WITHIN);
        }
        if timestamp::parse(text).is_none() {
            self.report.error_hint(
                at,
                code::BAD_TIMESTAMP,
                format!("{:?} is no RFC 3339 timestamp", crate::path::clip(text)),
                Some("write it as 2026-01-31T12:00:00Z".to_owned()),
            );
        }
        Some(Expression::Literal(text.into()))
    }

    fn parallel(&mut self, at: &At<'_, 't>) -> Kind {
        let mut branches = Vec::new();
        if let Some(list) = check::required(self.report, at, "a parallel step", "branches")
            && check::is_filled_list(self.report, &list)
        {
            if list.elements().len() as u64 > BRANCHES_THERE {
                self.report.note(
                    &list,
                    code::BEYOND_CLOUDFLOW,
                    format!("CloudFlow allows at most {BRANCHES_THERE} branches"),
                );
            }
            for (i, branch) in list.elements().iter().enumerate() {
                let branch = list.element(i, branch);
                if !check::is_object(self.report, &branch) {
                    continue;
                }
                check::known_fields(self.report, &branch, "a branch", &[&["steps"]]);
                if let Some(inner) = check::required(self.report, &branch, "a branch", "steps") {
                    branches.push(self.list(&inner, None));
                }
            }
        }
        Kind::Parallel { branches }
    }

    fn foreach(&mut self, at: &At<'_, 't>) -> Option<MapState> {
        let owner = "an iterationMapping";
        let steps = check::required(self.report, at, "a foreach step", "steps");
        let processor = steps.map(|s| self.list(&s, None));
        let mapping = check::required(self.report, at, "a foreach step", "iterationMapping")?;
        if !check::is_object(self.report, &mapping) {
            return None;
        }
        let fields: &[&str] = &["collection", "item", "index"];
        check::known_fields(self.report, &mapping, owner, &[fields]);
        let collection = check::required(self.report, &mapping, owner, "collection");
        let items = collection.and_then(|c| self.expression(&c, WITHIN));
        let item = check::required(self.report, &mapping, owner, "item");
        let item = item.and_then(|i| check::text(self.report, &i));
        let index = mapping
            .get("index")
            .and_then(|i| check::text(self.report, &i));
        // What the step got, and beside it the item and its number.
        let place = |root| {
            Fdl::Path(Place {
                source: "$".into(),
                root,
                query: crate::expression::Query::Whole,
            })
        };
        let with = |all, name: &str, root| Fdl::Call {
            function: Function::JsonMerge,
            arguments: vec![all, Fdl::Field(name.into(), Box::new(place(root)))],
        };
        let mut input = with(place(Root::Input), item?, Root::Item);
        if let Some(index) = index {
            input = with(input, index, Root::Index);
        }
        Some(MapState {
            items: Items::Template(Template::Expression(items?)),
            item_selector: Some(Template::Expression(Expression::Fdl(input))),
            processor: processor?,
            max_concurrency: Some(Expression::Literal(BRANCHES_THERE.into())),
            label: None,
            distributed: None,
        })
    }

    fn fail(&mut self, at: &At<'_, 't>) -> Kind {
        let mut text = |name| {
            let field = at.get(name)?;
            let text = check::text(self.report, &field)?;
            slip::in_constant(&field, text, self.report);
            Some(Expression::Literal(text.into()))
        };
        Kind::Fail {
            error: text("error"),
            cause: text("cause"),
        }
    }
}
