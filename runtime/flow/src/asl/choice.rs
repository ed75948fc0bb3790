//! Choice: rules, their conditions and operands.

use std::collections::HashSet;

use serde_json::Value;

use super::graph::Scope;
use super::{Compiler, expect};
use crate::diagnostic::code;
use crate::document::{At, Member, Tree};
use crate::expression::{Expression, QueryLanguage};
use crate::program::{ChoiceRule, Comparison, Kind, Operand, StateIdx, Test};
use crate::slip;
use crate::suggest;

/// Fields of a Choice beyond the common ones.
pub(super) const FIELDS: &[&str] = &["Choices", "Default", "Assign"];

/// As messages call a rule.
pub(super) const RULE: &str = "a Choice rule";

const RULE_FIELDS: &[&str] = &["And", "Or", "Not", "Variable", "Comment"];
const RULE_FIELDS_JSONATA: &[&str] = &["Assign", "Comment", "Condition", "Next", "Output"];

/// What a literal operand must be.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Text,
    Number,
    Boolean,
    Timestamp,
}

/// Name, operator, literal operand, whether it has a `…Path` form.
const OPERATORS: [(&str, Comparison, Wants, bool); 23] = [
    ("StringEquals", Comparison::StringEquals, Wants::Text, true),
    (
        "StringLessThan",
        Comparison::StringLessThan,
        Wants::Text,
        true,
    ),
    (
        "StringGreaterThan",
        Comparison::StringGreaterThan,
        Wants::Text,
        true,
    ),
    (
        "StringLessThanEquals",
        Comparison::StringLessThanEquals,
        Wants::Text,
        true,
    ),
    (
        "StringGreaterThanEquals",
        Comparison::StringGreaterThanEquals,
        Wants::Text,
        true,
    ),
    (
        "StringMatches",
        Comparison::StringMatches,
        Wants::Text,
        false,
    ),
    (
        "NumericEquals",
        Comparison::NumericEquals,
        Wants::Number,
        true,
    ),
    (
        "NumericLessThan",
        Comparison::NumericLessThan,
        Wants::Number,
        true,
    ),
    (
        "NumericGreaterThan",
        Comparison::NumericGreaterThan,
        Wants::Number,
        true,
    ),
    (
        "NumericLessThanEquals",
        Comparison::NumericLessThanEquals,
        Wants::Number,
        true,
    ),
    (
        "NumericGreaterThanEquals",
        Comparison::NumericGreaterThanEquals,
        Wants::Number,
        true,
    ),
    (
        "BooleanEquals",
        Comparison::BooleanEquals,
        Wants::Boolean,
        true,
    ),
    (
        "TimestampEquals",
        Comparison::TimestampEquals,
        Wants::Timestamp,
        true,
    ),
    (
        "TimestampLessThan",
        Comparison::TimestampLessThan,
        Wants::Timestamp,
        true,
    ),
    (
        "TimestampGreaterThan",
        Comparison::TimestampGreaterThan,
        Wants::Timestamp,
        true,
    ),
    (
        "TimestampLessThanEquals",
        Comparison::TimestampLessThanEquals,
        Wants::Timestamp,
        true,
    ),
    (
        "TimestampGreaterThanEquals",
        Comparison::TimestampGreaterThanEquals,
        Wants::Timestamp,
        true,
    ),
    ("IsNull", Comparison::IsNull, Wants::Boolean, false),
    ("IsPresent", Comparison::IsPresent, Wants::Boolean, false),
    ("IsNumeric", Comparison::IsNumeric, Wants::Boolean, false),
    ("IsString", Comparison::IsString, Wants::Boolean, false),
    ("IsBoolean", Comparison::IsBoolean, Wants::Boolean, false),
    (
        "IsTimestamp",
        Comparison::IsTimestamp,
        Wants::Boolean,
        false,
    ),
];

/// The operator of a field, and whether its operand is a path.
fn operator(name: &str) -> Option<(Comparison, Wants, bool)> {
    let (base, path) = match name.strip_suffix("Path") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let (_, comparison, wants, has_path) = OPERATORS.iter().find(|o| o.0 == base)?;
    (*has_path || !path).then_some((*comparison, *wants, path))
}

/// Whether a rule in JSONPath mode compares by the field of this name.
pub(super) fn is_operator(name: &str) -> bool {
    operator(name).is_some()
}

/// A condition that stands in for one that could not be read.
fn stand_in() -> Test {
    Test::And(Vec::new())
}

impl<'t> Compiler<'t, '_> {
    pub(super) fn choice(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Kind {
        let mut rules = Vec::new();
        if let Some(list) = self.required(at, "a Choice state", "Choices")
            && self.is_filled_list(&list)
        {
            let mut known = HashSet::new();
            for (i, rule) in list.elements().iter().enumerate() {
                let rule = list.element(i, rule);
                rules.push(self.behind(&known, |own| own.rule(&rule, i, scope)));
                known.extend(super::ways::known(&rule, false));
            }
        }
        // Where they would have led is not known.
        scope.broken |= rules.is_empty();
        let default: Option<StateIdx> = at.get("Default").map(|d| self.target(&d, scope, true));
        Kind::Choice { rules, default }
    }

    fn rule(&mut self, at: &At<'_, 't>, index: usize, scope: &mut Scope<'t>) -> ChoiceRule {
        let mut rule = ChoiceRule {
            test: stand_in(),
            next: scope.current,
            assign: None,
            output: None,
        };
        if !self.is_object(at) {
            scope.broken = true;
            return rule;
        }
        match self.required(at, RULE, "Next") {
            Some(field) => rule.next = self.target(&field, scope, true),
            None => scope.broken = true,
        }
        let place = format!("Choices[{index}]/");
        let known = super::ways::known(at, true).into_iter().collect();
        rule.assign = self.behind(&known, |own| own.assign(at, &place));
        if self.language == QueryLanguage::Jsonata {
            self.known_fields(at, RULE, &[RULE_FIELDS_JSONATA]);
            rule.output = self.template_at(at, "Output", &format!("{place}Output"));
            rule.test = self.condition(at, &place);
        } else {
            rule.test = self.test(at, true);
        }
        rule
    }

    /// `Condition` of JSONata mode: `true`, `false`, or an expression.
    fn condition(&mut self, at: &At<'_, 't>, place: &str) -> Test {
        let Some(field) = at.get("Condition") else {
            // What stands in its place was said to be of the other language.
            let other = |name: &str| matches!(name, "And" | "Or" | "Not") || is_operator(name);
            if !at.members().iter().any(|m| other(&m.name)) {
                self.required(at, RULE, "Condition");
            }
            return stand_in();
        };
        if let Some(query) = self.query(&field, &format!("{place}Condition")) {
            return Test::Condition(query);
        }
        if !matches!(field.node.tree, Tree::Bool(_)) {
            self.wrong_type(&field, "true, false, or a string {% … %} that yields one");
        }
        Test::Condition(Expression::Literal(field.node.value()))
    }

    /// The condition of a rule; `top`: of one that has the `Next`.
    fn test(&mut self, at: &At<'_, 't>, top: bool) -> Test {
        if !self.is_object(at) {
            return stand_in();
        }
        let jsonata = at.get("Condition").is_some();
        let misspelt = self.rule_fields(at, top);
        let mut conditions = at
            .members()
            .iter()
            .filter(|m| matches!(&*m.name, "And" | "Or" | "Not") || operator(&m.name).is_some());
        let Some(condition) = conditions.next() else {
            if !jsonata && !misspelt {
                self.report.error_hint(
                    at,
                    code::BAD_RULE,
                    "the rule has no condition".to_owned(),
                    Some(
                        "add Variable with a comparison such as StringEquals, or And, Or, Not"
                            .to_owned(),
                    ),
                );
            }
            return stand_in();
        };
        if let Some(second) = conditions.next() {
            self.report.error_hint(
                &at.member_name(second),
                code::BAD_RULE,
                format!(
                    "the rule has more than one condition: {} and {}",
                    condition.name, second.name
                ),
                Some("join them with And or Or".to_owned()),
            );
        }
        let place = at.member(condition);
        if matches!(&*condition.name, "And" | "Or" | "Not")
            && let Some(variable) = at.members().iter().find(|m| *m.name == *"Variable")
        {
            self.report.error_hint(
                &at.member_name(variable),
                code::BAD_RULE,
                format!("a rule with {} has no Variable of its own", condition.name),
                Some("the rules inside of it have one each".to_owned()),
            );
        }
        match &*condition.name {
            "And" => Test::And(self.all(&place)),
            "Or" => Test::Or(self.tests(&place)),
            "Not" => Test::Not(Box::new(self.test(&place, false))),
            _ => self.comparison(at, condition),
        }
    }

    /// Rules that are asked in their order, until one does not hold.
    fn all(&mut self, at: &At<'_, 't>) -> Vec<Test> {
        if !self.is_filled_list(at) {
            return Vec::new();
        }
        let mut known = HashSet::new();
        let mut tests = Vec::new();
        for (i, rule) in at.elements().iter().enumerate() {
            let rule = at.element(i, rule);
            tests.push(self.behind(&known, |own| own.test(&rule, false)));
            known.extend(super::ways::known(&rule, true));
        }
        tests
    }

    /// Compiles what is read only where these variables were asked for, and have a value.
    fn behind<T>(&mut self, known: &HashSet<&'t str>, compile: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.report.reads.len();
        let compiled = compile(self);
        let reads = self.report.reads.split_off(before);
        let reads = reads.into_iter().filter(|r| !known.contains(&*r.name));
        self.report.reads.extend(reads);
        compiled
    }

    fn tests(&mut self, at: &At<'_, 't>) -> Vec<Test> {
        if !self.is_filled_list(at) {
            return Vec::new();
        }
        at.elements()
            .iter()
            .enumerate()
            .map(|(i, rule)| self.test(&at.element(i, rule), false))
            .collect()
    }

    /// Reports what a rule does not have; `true`: among it a slip of a condition's name.
    fn rule_fields(&mut self, at: &At<'_, 't>, top: bool) -> bool {
        let mut misspelt = false;
        let mut known: Vec<&str> = RULE_FIELDS.to_vec();
        let present = at.members().iter().map(|m| &*m.name);
        known.extend(present.filter(|name| operator(name).is_some()));
        if top {
            known.extend(["Next", "Assign"]);
        } else if let Some(next) = at.members().iter().find(|m| *m.name == *"Next") {
            known.push("Next");
            self.report.error(
                &at.member_name(next),
                code::BAD_RULE,
                "only the outermost rule has a Next".to_owned(),
            );
        }
        for member in at.members() {
            let name = &*member.name;
            if let Some(base) = name.strip_suffix("Path")
                && operator(base).is_some()
                && operator(name).is_none()
            {
                self.report.error(
                    &at.member_name(member),
                    code::UNKNOWN_FIELD,
                    format!("{base} has no form that takes a path"),
                );
                known.push(name);
                misspelt = true;
            }
        }
        // For the suggestion: all operators count as candidates.
        if at.members().iter().any(|m| !known.contains(&&*m.name)) {
            let names: Vec<&str> = OPERATORS.iter().map(|o| o.0).collect();
            misspelt |= self.unknown_in_rule(at, &known, &names);
        } else {
            self.known_fields(at, RULE, &[&known]);
        }
        misspelt
    }

    /// Unknown fields of a rule, suggested among operators and other fields; `true`: one is
    /// near to a condition's name.
    fn unknown_in_rule(&mut self, at: &At<'_, 't>, known: &[&str], operators: &[&str]) -> bool {
        let mut misspelt = false;
        for member in at.members() {
            let name = &*member.name;
            if known.contains(&name) {
                continue;
            }
            let place = at.member_name(member);
            match name {
                "Assign" => self.report.error(
                    &place,
                    code::BAD_RULE,
                    "only the outermost rule has an Assign".to_owned(),
                ),
                "Condition" | "Output" => {
                    self.of_other_language(&place, RULE, name);
                }
                _ => {
                    let candidates = RULE_FIELDS.iter().chain(operators).copied();
                    let meant = suggest::nearest(name, candidates);
                    misspelt |= meant.is_some_and(|m| !matches!(m, "Comment" | "Variable"));
                    self.report.error_hint(
                        &place,
                        code::UNKNOWN_FIELD,
                        format!("a Choice rule has no field {:?}", crate::path::clip(name)),
                        meant.map(|m| format!("did you mean {m:?}?")),
                    );
                }
            }
        }
        misspelt
    }

    fn comparison(&mut self, rule: &At<'_, 't>, condition: &'t Member) -> Test {
        let Some((comparison, wants, path)) = operator(&condition.name) else {
            return stand_in();
        };
        let reads = self.report.reads.len();
        let variable = match self.required(rule, "a comparison", "Variable") {
            Some(field) => self.path(&field),
            None => expect::whole(),
        };
        if comparison == Comparison::IsPresent {
            // To ask whether there is a value is no wrong way of reading it.
            self.report.reads.truncate(reads);
        }
        let place = rule.member(condition);
        let operand = if path {
            Operand::Path(self.path(&place))
        } else {
            let twin = format!("{}Path", condition.name);
            if let (Wants::Text, Tree::Text(text)) = (wants, &place.node.tree)
                && operator(&twin).is_some()
            {
                slip::in_text(&place, text, self.language, &twin, self.report);
            }
            Operand::Literal(self.operand(&place, wants))
        };
        Test::Compare {
            variable,
            operator: comparison,
            operand,
        }
    }

    fn operand(&mut self, at: &At<'_, 't>, wants: Wants) -> Value {
        let value = at.node.value();
        match wants {
            Wants::Text if !value.is_string() => self.wrong_type(at, "a string"),
            Wants::Number if !value.is_number() => self.wrong_type(at, "a number"),
            Wants::Boolean if !value.is_boolean() => self.wrong_type(at, "true or false"),
            Wants::Timestamp => {
                self.timestamp(at);
            }
            _ => {}
        }
        value
    }
}
