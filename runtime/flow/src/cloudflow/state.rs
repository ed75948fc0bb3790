//! What all state kinds share, and the kinds that are small: Pass, Wait, Choice,
//! Parallel, Succeed, Fail.

use std::sync::Arc;

use serde_json::Value;

use super::{AFTER, BEFORE, Compiler, graph};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{Expression, Template};
use crate::fdl::{self, Constructors, Roots};
use crate::given::Here;
use crate::program::{ChoiceRule, DataFlow, Kind, Next, State, StateIdx, Test, WaitUntil};
use crate::scope::Scope;
use crate::slip;

const KINDS: [&str; 8] = [
    "Task", "Pass", "Wait", "Succeed", "Fail", "Choice", "Parallel", "Map",
];

const ALL: &[&str] = &["Name", "Type", "Description"];
const INPUT: &[&str] = &["InputConstructor"];
const OUTPUT: &[&str] = &["OutputConstructor", "GlobalConstructor"];
const ONWARD: &[&str] = &["Next", "End"];
const FAILURE: &[&str] = &["Retry", "Catch", "OnErrors"];
const GRAPH: &[&str] = &["StartAt", "States"];

/// Longest Wait in CloudFlow's Standard mode, in seconds.
const WAIT_SECONDS_THERE: u64 = 300;
/// And in its Express mode.
const WAIT_SECONDS_EXPRESS: u64 = 20;
/// Most branches of a Parallel in CloudFlow.
const BRANCHES_THERE: usize = 50;

impl<'t> Compiler<'_> {
    /// Compiles one state; `None` when it is beyond a stand-in.
    pub(super) fn state(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Option<State> {
        if !check::is_object(self.report, at) {
            scope.broken = true;
            return None;
        }
        let name = check::required(self.report, at, "a state", "Name");
        let name = name.and_then(|n| self.name(&n));
        let Some(kind) = check::kind(self.report, at, ("state", "Type"), &KINDS) else {
            // What is unknown may well end the graph, or lead on.
            scope.end();
            scope.broken = true;
            return None;
        };
        self.state_fields(at, kind);
        self.report.here = Here {
            token: kind == "Task" && self.may_wait(at),
            ..Here::default()
        };
        let next = self.next(at, kind, scope);
        let mut data = Constructors {
            input: self.constructor(at, "InputConstructor", BEFORE),
            output: self.constructor(at, "OutputConstructor", AFTER),
            global: self.constructor(at, "GlobalConstructor", AFTER),
            ..Constructors::default()
        };
        let (retry, catch) = self.failure(at, scope);
        let kind = match kind {
            "Task" => Kind::Task(self.task(at, &mut data)?),
            "Pass" => Kind::Pass { result: None },
            "Choice" => self.choice(at, scope),
            "Parallel" => self.parallel(at, scope.current, &mut data),
            "Map" => Kind::Map(self.map(at, scope.current, &mut data)?),
            "Wait" => Kind::Wait(self.wait(at)?),
            "Succeed" => Kind::Succeed,
            _ => self.fail(at),
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

    fn state_fields(&mut self, at: &At<'_, 't>, kind: &str) {
        let lists: &[&[&str]] = match kind {
            "Task" => &[ALL, INPUT, OUTPUT, ONWARD, FAILURE, super::action::FIELDS],
            "Pass" => &[ALL, INPUT, OUTPUT, ONWARD],
            "Wait" => &[ALL, INPUT, OUTPUT, ONWARD, &["Seconds", "Seconds.$"]],
            "Choice" => &[ALL, INPUT, &["Branches", "Default"]],
            "Parallel" => &[ALL, INPUT, OUTPUT, ONWARD, FAILURE, &["Branches"]],
            "Map" => &[
                ALL,
                INPUT,
                OUTPUT,
                ONWARD,
                FAILURE,
                super::map::FIELDS,
                super::distributed::FIELDS,
            ],
            "Succeed" => &[ALL, INPUT, OUTPUT, &["End"]],
            _ => &[ALL, INPUT, &["Code", "Detail", "End"]],
        };
        check::known_fields(self.report, at, &format!("a {kind} state"), lists);
        if let Some(text) = at.get("Description") {
            check::text(self.report, &text);
        }
    }

    /// A map of values and expressions.
    pub(super) fn constructor(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        roots: Roots,
    ) -> Option<Template> {
        let field = at.get(name)?;
        check::is_object(self.report, &field)
            .then(|| fdl::template(&field, roots, self.report, &mut self.notes))
    }

    fn next(&mut self, at: &At<'_, 't>, kind: &str, scope: &mut Scope<'t>) -> Next {
        let end = at.get("End").and_then(|e| check::boolean(self.report, &e));
        match kind {
            "Succeed" | "Fail" => {
                scope.end();
                if end == Some(false)
                    && let Some(field) = at.get("End")
                {
                    self.report.error(
                        &field,
                        code::BAD_VALUE,
                        format!("a {kind} state always ends its scope"),
                    );
                }
                return Next::ByKind;
            }
            "Choice" => return Next::ByKind,
            _ => {}
        }
        let next = at.get("Next");
        // Next is looked up only where End is not set.
        if end == Some(true) {
            scope.end();
            if let Some(next) = next {
                self.report.warning(
                    &next,
                    code::NEXT_OR_END,
                    "with `End: true` the state ends its scope, and this is not looked up".into(),
                    Some("remove Next, or End if the flow shall go on".into()),
                );
            }
            return Next::End;
        }
        if let Some(next) = next {
            return Next::State(self.target(&next, scope, true));
        }
        scope.broken = true;
        // What is wrong with its End was said.
        if end.is_some() || at.get("End").is_none() {
            self.report.error(
                at,
                code::NEXT_OR_END,
                "the state has neither Next nor `End: true`; it needs one of them".into(),
            );
        }
        Next::End
    }

    fn choice(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Kind {
        let owner = "a branch of a Choice";
        let mut rules = Vec::new();
        let list = check::required(self.report, at, "a Choice state", "Branches");
        let list = list.filter(|list| check::is_filled_list(self.report, list));
        // Where they would have led is not known.
        scope.broken |= list.is_none();
        if let Some(list) = list {
            for (i, branch) in list.elements().iter().enumerate() {
                let branch = list.element(i, branch);
                if !check::is_object(self.report, &branch) {
                    scope.broken = true;
                    continue;
                }
                check::known_fields(
                    self.report,
                    &branch,
                    owner,
                    &[&["Condition", "Next", "Description"]],
                );
                let condition = check::required(self.report, &branch, owner, "Condition");
                let test = condition.and_then(|c| self.expression(&c, BEFORE));
                let next = check::required(self.report, &branch, owner, "Next");
                scope.broken |= next.is_none();
                let next = next.map(|n| self.target(&n, scope, true));
                if let (Some(test), Some(next)) = (test, next) {
                    let test = Test::Condition(test);
                    rules.push(ChoiceRule {
                        test,
                        next,
                        assign: None,
                        output: None,
                    });
                }
            }
        }
        let default = check::required(self.report, at, "a Choice state", "Default");
        let default = default.map(|d| self.target(&d, scope, true));
        scope.broken |= default.is_none();
        Kind::Choice { rules, default }
    }

    fn parallel(&mut self, at: &At<'_, 't>, own: StateIdx, data: &mut Constructors) -> Kind {
        let mut branches = Vec::new();
        if let Some(list) = check::required(self.report, at, "a Parallel state", "Branches")
            && check::is_filled_list(self.report, &list)
        {
            if list.elements().len() > BRANCHES_THERE {
                self.report.note(
                    &list,
                    code::BEYOND_CLOUDFLOW,
                    format!("CloudFlow allows at most {BRANCHES_THERE} branches"),
                );
            }
            let mut first = own.0.saturating_add(1);
            for (i, branch) in list.elements().iter().enumerate() {
                let branch = list.element(i, branch);
                let size = graph::count(&branch);
                if check::is_object(self.report, &branch) {
                    check::known_fields(self.report, &branch, "a branch", &[GRAPH]);
                    branches.push(self.graph(&branch, "a branch", first));
                }
                first = first.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
            }
        }
        let named = |i| (format!("Branch{i}").into(), format!("$[{i}]"));
        data.result = Some(fdl::rearranged((0..branches.len()).map(named)));
        Kind::Parallel { branches }
    }

    fn wait(&mut self, at: &At<'_, 't>) -> Option<WaitUntil> {
        let dynamic = at.get("Seconds.$");
        if let Some(field) = at.get("Seconds") {
            if let Some(other) = &dynamic {
                self.report.error(
                    other,
                    code::EXCLUSIVE_FIELDS,
                    "Seconds and Seconds.$ exclude each other".to_owned(),
                );
            }
            let seconds = check::integer(self.report, &field, 1, fdl::SECONDS_MAX)?;
            let express = self.resolve.express() || self.report.express_children;
            let (most, mode) = match express {
                true => (WAIT_SECONDS_EXPRESS, " of an Express execution"),
                false => (WAIT_SECONDS_THERE, ""),
            };
            if seconds > most {
                self.report.note(
                    &field,
                    code::BEYOND_CLOUDFLOW,
                    format!("CloudFlow waits at most {most} seconds in one state{mode}"),
                );
            }
            return Some(WaitUntil::Seconds(Expression::Literal(seconds.into())));
        }
        let Some(dynamic) = dynamic else {
            check::required(self.report, at, "a Wait state", "Seconds");
            return None;
        };
        self.expression(&dynamic, BEFORE).map(WaitUntil::Seconds)
    }

    fn fail(&mut self, at: &At<'_, 't>) -> Kind {
        let mut text = |at: Option<At<'_, 't>>| {
            let at = at?;
            let text = check::text(self.report, &at)?;
            slip::in_constant(&at, text, self.report);
            Some(Expression::Literal(Value::String(text.to_owned())))
        };
        let error = text(at.get("Code"));
        let cause = text(at.get("Detail"));
        if at.get("Detail").is_none() {
            check::required(self.report, at, "a Fail state", "Detail");
        }
        Kind::Fail { error, cause }
    }

    /// A text that is an expression.
    pub(super) fn expression(&mut self, at: &At<'_, 't>, roots: Roots) -> Option<Expression> {
        match &at.node.tree {
            Tree::Text(_) => fdl::expression(at, roots, self.report, &mut self.notes),
            _ => {
                check::text(self.report, at);
                None
            }
        }
    }
}
