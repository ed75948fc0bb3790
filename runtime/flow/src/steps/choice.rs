//! Choice: conditions, and steps or a `goto` behind each.
//!
//! The program's Choice only leads on, so what a branch does becomes a state of its own:
//! a Parallel of the one list of steps, or a Pass for the mappings alone. They have the
//! choice's mappings and are called after it, `NAME.choices[0]` or `NAME.default`.

use std::sync::Arc;

use super::list::Steps;
use super::step::nothing;
use super::{Compiler, WITHIN};
use crate::check;
use crate::document::At;
use crate::expression::Template;
use crate::fdl::Constructors;
use crate::program::{ChoiceRule, DataFlow, Kind, Next, State, StateIdx, Test};

impl<'t> Compiler<'_> {
    pub(super) fn choice(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        next: Next,
        steps: &mut Steps<'t, '_>,
        data: &mut Constructors,
    ) -> Kind {
        let owner = "a choice";
        let mut rules = Vec::new();
        if let Some(list) = check::required(self.report, at, "a choice step", "choices")
            && check::is_filled_list(self.report, &list)
        {
            for (i, branch) in list.elements().iter().enumerate() {
                let branch = list.element(i, branch);
                if !check::is_object(self.report, &branch) {
                    steps.scope.broken = true;
                    continue;
                }
                let fields: &[&str] = &["condition", "steps", "goto"];
                check::known_fields(self.report, &branch, owner, &[fields]);
                let condition = check::required(self.report, &branch, owner, "condition");
                let test = condition.and_then(|c| self.expression(&c, WITHIN));
                let own = format!("{name}.choices[{i}]");
                let target = self.branch(at, &branch, own, next, steps);
                if let Some(test) = test {
                    rules.push(ChoiceRule {
                        test: Test::Condition(test),
                        next: target,
                        assign: None,
                        output: None,
                    });
                }
            }
        }
        let default = at.get("default");
        let fields: &[&str] = &["steps", "goto"];
        if let Some(default) = &default
            && check::is_object(self.report, default)
        {
            check::known_fields(self.report, default, "a default", &[fields]);
        }
        let branch = default.as_ref().unwrap_or(at);
        let own = format!("{name}.default");
        let default = if default.is_some() {
            self.branch(at, branch, own, next, steps)
        } else {
            self.mapped(at, at, own, next, steps, None)
        };
        // The states behind it have the mappings.
        data.output = Some(nothing());
        Kind::Choice {
            rules,
            default: Some(default),
        }
    }

    /// What is behind one condition.
    fn branch(
        &mut self,
        choice: &At<'_, 't>,
        branch: &At<'_, 't>,
        name: String,
        next: Next,
        steps: &mut Steps<'t, '_>,
    ) -> StateIdx {
        let goto = branch.get("goto");
        let next = goto.map_or(next, |g| Next::State(self.target(&g, &mut steps.scope)));
        let inner = branch.get("steps");
        self.mapped(choice, branch, name, next, steps, inner.as_ref())
    }

    /// The state that runs `inner`, if there is any, and maps what comes of it.
    fn mapped(
        &mut self,
        choice: &At<'_, 't>,
        branch: &At<'_, 't>,
        name: String,
        next: Next,
        steps: &mut Steps<'t, '_>,
        inner: Option<&At<'_, 't>>,
    ) -> StateIdx {
        match next {
            Next::State(target) => {
                let current = steps.scope.current;
                steps.scope.edges.push((current, target));
                if inner.is_none() && choice.get("outputMappings").is_none() {
                    return target;
                }
            }
            Next::End | Next::ByKind => steps.scope.end(),
        }
        let index = self.slot(branch);
        let mut data = self.silently(|c| c.data_flow(choice, "choice", steps));
        let kind = match inner {
            Some(inner) => {
                data.result = Some(only());
                Kind::Parallel {
                    branches: vec![self.list(inner, None)],
                }
            }
            None => Kind::Pass { result: None },
        };
        self.put(
            index,
            Some(State {
                name: Arc::from(name),
                kind,
                next,
                data: DataFlow::CloudFlow(Box::new(data)),
                assign: None,
                retry: Vec::new(),
                catch: Vec::new(),
            }),
        );
        index
    }
}

/// The result of the only branch.
fn only() -> Template {
    match crate::path::parse("$[0]", &crate::path::Patterns::default()) {
        Ok(path) => Template::Expression(crate::expression::Expression::Path(path)),
        Err(_) => nothing(),
    }
}
