//! What all state kinds share: type, next or end, data flow.

use std::sync::Arc;

use super::graph::Scope;
use super::{Compiler, expect};
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{DataPath, QueryLanguage, Template, WritePath};
use crate::given::Here;
use crate::program::{DataFlow, JsonPathFlow, JsonataFlow, Kind, Next, State, StateIdx};
use crate::{check, template};

const KINDS: [&str; 8] = [
    "Task", "Pass", "Choice", "Parallel", "Map", "Wait", "Succeed", "Fail",
];

const ALL: &[&str] = &["Type", "Comment", "QueryLanguage"];
const IN_OUT: &[&str] = &["InputPath", "OutputPath"];
const OUT: &[&str] = &["Output"];
const ONWARD: &[&str] = &["Next", "End", "Assign"];
const RESULT: &[&str] = &["Parameters", "ResultPath"];
const FAILURE: &[&str] = &["ResultSelector", "Retry", "Catch"];
const RULES: &[&str] = &["Retry", "Catch"];

impl<'t> Compiler<'t, '_> {
    /// Compiles one state; `None` when it is beyond a stand-in.
    pub(super) fn state(
        &mut self,
        at: &At<'_, 't>,
        name: &'t str,
        scope: &mut Scope<'t>,
    ) -> Option<State> {
        if !self.is_object(at) {
            scope.broken = true;
            return None;
        }
        let Some(kind) = check::kind(self.report, at, ("state", "Type"), &KINDS) else {
            // What is unknown may well end the graph.
            scope.end();
            self.follow(at, scope);
            return None;
        };
        self.language = self.query_language(at);
        self.state_fields(at, kind);
        self.report.here = Here {
            result: matches!(kind, "Task" | "Parallel" | "Map"),
            token: kind == "Task" && self.may_wait(at),
            error: false,
        };
        let next = self.next(at, kind, scope);
        let data = self.data_flow(at, kind);
        let failure = matches!(kind, "Task" | "Parallel" | "Map");
        let retry = if failure { self.retry(at) } else { Vec::new() };
        let catch = if failure {
            self.catch(at, scope)
        } else {
            Vec::new()
        };
        let assign = match kind {
            "Succeed" | "Fail" => None,
            _ => self.assign(at, ""),
        };
        let kind = match kind {
            "Task" => Kind::Task(self.task(at)?),
            "Pass" => super::pass::pass(at),
            "Choice" => self.choice(at, scope),
            "Parallel" => self.parallel(at, scope.current),
            "Map" => Kind::Map(self.map(at, scope.current)?),
            "Wait" => Kind::Wait(self.wait(at)?),
            "Succeed" => Kind::Succeed,
            _ => self.fail(at),
        };
        Some(State {
            name: Arc::from(name),
            kind,
            next,
            data,
            assign,
            retry,
            catch,
        })
    }

    /// Counts the ways out of a state that is not checked further.
    fn follow(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) {
        let lists = ["Choices", "Catch"];
        let rules = lists.iter().filter_map(|n| at.get(n));
        for list in rules {
            for (i, rule) in list.elements().iter().enumerate() {
                if let Some(next) = list.element(i, rule).get("Next") {
                    self.target(&next, scope, true);
                }
            }
        }
        for name in ["Next", "Default"] {
            if let Some(next) = at.get(name) {
                self.target(&next, scope, true);
            }
        }
    }

    fn state_fields(&mut self, at: &At<'_, 't>, kind: &str) {
        let jsonata = self.language == QueryLanguage::Jsonata;
        let lists: &[&[&str]] = match (kind, jsonata) {
            ("Task", false) => &[ALL, IN_OUT, ONWARD, RESULT, FAILURE, super::task::FIELDS],
            ("Task", true) => {
                let own = super::task::FIELDS_JSONATA;
                &[ALL, OUT, ONWARD, RULES, &["Arguments"], own]
            }
            ("Pass", false) => &[ALL, IN_OUT, ONWARD, RESULT, &["Result"]],
            ("Pass", true) => &[ALL, OUT, ONWARD],
            ("Choice", false) => &[ALL, IN_OUT, super::choice::FIELDS],
            ("Choice", true) => &[ALL, OUT, super::choice::FIELDS],
            ("Parallel", false) => &[ALL, IN_OUT, ONWARD, RESULT, FAILURE, &["Branches"]],
            ("Parallel", true) => &[ALL, OUT, ONWARD, RULES, &["Arguments", "Branches"]],
            ("Map", false) => {
                let (own, children) = (super::map::FIELDS, super::distributed::FIELDS);
                &[ALL, IN_OUT, ONWARD, RESULT, FAILURE, own, children]
            }
            ("Map", true) => {
                let children = super::distributed::FIELDS_JSONATA;
                &[
                    ALL,
                    OUT,
                    ONWARD,
                    RULES,
                    super::map::FIELDS_JSONATA,
                    children,
                ]
            }
            ("Wait", false) => &[ALL, IN_OUT, ONWARD, super::wait::FIELDS],
            ("Wait", true) => &[ALL, OUT, ONWARD, super::wait::FIELDS_JSONATA],
            ("Succeed", false) => &[ALL, IN_OUT],
            ("Succeed", true) => &[ALL, OUT],
            (_, false) => &[ALL, super::fail::FIELDS],
            (_, true) => &[ALL, super::fail::FIELDS_JSONATA],
        };
        self.known_fields(at, &format!("a {kind} state"), lists);
    }

    fn next(&mut self, at: &At<'_, 't>, kind: &str, scope: &mut Scope<'t>) -> Next {
        if matches!(kind, "Succeed" | "Fail") {
            scope.end();
            return Next::ByKind;
        }
        if kind == "Choice" {
            return Next::ByKind;
        }
        let next = at.get("Next").map(|n| self.target(&n, scope, true));
        let end = at.get("End").and_then(|e| self.boolean(&e));
        match (next, end) {
            (Some(next), None | Some(false)) => Next::State(next),
            (None, Some(true)) => {
                scope.end();
                Next::End
            }
            (Some(_), Some(true)) => {
                scope.end();
                self.next_or_end(at, "has both Next and End; it needs one of them");
                Next::End
            }
            // What is wrong with its End was said.
            (None, None) if at.get("End").is_some() => {
                scope.broken = true;
                Next::End
            }
            (None, _) => {
                scope.broken = true;
                self.next_or_end(
                    at,
                    "has neither Next nor \"End\": true; it needs one of them",
                );
                Next::End
            }
        }
    }

    fn next_or_end(&mut self, at: &At<'_, 't>, what: &str) {
        self.report
            .error(at, code::NEXT_OR_END, format!("the state {what}"));
    }

    fn data_flow(&mut self, at: &At<'_, 't>, kind: &str) -> DataFlow {
        if self.language == QueryLanguage::Jsonata {
            return DataFlow::Jsonata(JsonataFlow {
                arguments: match kind {
                    "Task" | "Parallel" => self.template(at, "Arguments"),
                    _ => None,
                },
                output: match kind {
                    "Fail" => None,
                    _ => self.template(at, "Output"),
                },
            });
        }
        DataFlow::JsonPath(JsonPathFlow {
            input_path: self.in_out(at, "InputPath", kind),
            // A Map's Parameters are the older form of its ItemSelector.
            parameters: match kind {
                "Task" | "Pass" | "Parallel" => self.template(at, "Parameters"),
                _ => None,
            },
            result_selector: match kind {
                "Task" | "Parallel" | "Map" => self.template(at, "ResultSelector"),
                _ => None,
            },
            result_path: match kind {
                "Task" | "Pass" | "Parallel" | "Map" => self.write_path(at.get("ResultPath")),
                _ => WritePath::Replace,
            },
            output_path: self.in_out(at, "OutputPath", kind),
        })
    }

    /// `InputPath` and `OutputPath`: a path, or `null` for `{}`.
    fn in_out(&mut self, at: &At<'_, 't>, name: &str, kind: &str) -> Option<DataPath> {
        match at.get(name) {
            Some(field) if kind != "Fail" => match field.node.tree {
                Tree::Null => None,
                _ => Some(self.path(&field)),
            },
            _ => Some(expect::whole()),
        }
    }

    pub(super) fn template(&mut self, at: &At<'_, 't>, name: &str) -> Option<Template> {
        self.template_at(at, name, name)
    }

    /// As [`Self::template`], at a place of this name within the state.
    pub(super) fn template_at(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        location: &str,
    ) -> Option<Template> {
        let field = at.get(name)?;
        Some(template::compile(
            &field,
            self.language,
            location,
            self.report,
        ))
    }

    fn parallel(&mut self, at: &At<'_, 't>, own: StateIdx) -> Kind {
        let mut branches = Vec::new();
        if let Some(list) = self.required(at, "a Parallel state", "Branches")
            && self.is_filled_list(&list)
        {
            let mut first = own.0.saturating_add(1);
            for (i, branch) in list.elements().iter().enumerate() {
                let branch = list.element(i, branch);
                let size = super::graph::count(&branch, "States");
                if self.is_object(&branch) {
                    self.graph_fields(&branch, "a branch", &[]);
                    branches.push(self.inner_graph(&branch, "a branch", first));
                }
                first = first.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
            }
        }
        Kind::Parallel { branches }
    }
}
