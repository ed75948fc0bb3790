//! Constructors: JSON in which fields named `….$` hold CloudFlow expressions.
//!
//! Refuses to evaluate.

use serde_json::Value;

use super::{Fdl, Function, Notes, Place, Root, Roots, parse};
use crate::check;
use crate::diagnostic::Report;
use crate::document::At;
use crate::expression::{Expression, Query, Segment, Template};
use crate::{given, path, slip, template};

/// Compiles a constructor; parts without expressions stay literal JSON.
pub(crate) fn template(
    at: &At<'_, '_>,
    roots: Roots,
    report: &mut Report,
    notes: &mut Notes,
) -> Template {
    slip::in_constructor(at, report);
    template::by_name(at, report, &mut |at, report| {
        expression(at, roots, report, notes)
    })
}

/// Compiles a text that is one expression.
pub(crate) fn expression(
    at: &At<'_, '_>,
    roots: Roots,
    report: &mut Report,
    notes: &mut Notes,
) -> Option<Expression> {
    let source = check::text(report, at)?;
    match parse(source, roots, &report.patterns) {
        Ok(compiled) => {
            each(&compiled, &mut |part| {
                match part {
                Fdl::Call { function: Function::RegexMatchString, .. } => notes.once(
                    "regexMatchString",
                    report,
                    at,
                    "regexMatchString takes the pattern first here; CloudFlow's documents don't show the order",
                ),
                Fdl::Call { function: Function::RandomInt, .. } => notes.once(
                    "randomInt",
                    report,
                    at,
                    "randomInt yields a number from its first argument up to but not including its second; CloudFlow's documents don't show its bounds",
                ),
                Fdl::Path(Place { root: Root::Global | Root::ScopeLocal, query: Query::Definite(names), .. }) => {
                    if let Some(Segment::Name(name)) = names.first() {
                        report.read(at, name);
                    }
                }
                Fdl::Path(Place { root: root @ (Root::Context | Root::OldContext), query: Query::Definite(names), .. }) => {
                    let names = names.iter().map_while(|segment| match segment {
                        Segment::Name(name) => Some(&**name),
                        Segment::Index(_) => None,
                    });
                    let names: Vec<_> = names.collect();
                    let output = roots.here.iter().any(|(_, root)| *root == Root::Output);
                    given::check_cloudflow(at, *root == Root::OldContext, output, &names, report);
                }
                _ => {}
            }
            });
            Some(Expression::Fdl(compiled))
        }
        Err(fault) => {
            template::report_fault(at, fault, report);
            None
        }
    }
}

/// Calls `seen` with an expression and all that is in it.
fn each(e: &Fdl, seen: &mut dyn FnMut(&Fdl)) {
    seen(e);
    match e {
        Fdl::Literal(_) | Fdl::Path(_) => {}
        Fdl::List(items) => items.iter().for_each(|e| each(e, seen)),
        Fdl::Field(_, e) | Fdl::First(e, _) | Fdl::Not(e) | Fdl::Negate(e) => each(e, seen),
        Fdl::Binary { operands, .. } => {
            each(&operands.0, seen);
            each(&operands.1, seen);
        }
        Fdl::Call { arguments, .. } => arguments.iter().for_each(|e| each(e, seen)),
    }
}

/// An object of places of `$`, the engine's own result: a name and a path each.
pub(crate) fn rearranged(fields: impl IntoIterator<Item = (Box<str>, String)>) -> Template {
    let place = |(name, source): (Box<str>, String)| (name, part(&source));
    Template::Object(fields.into_iter().map(place).collect())
}

/// A place of `$`, the engine's own result.
pub(crate) fn part(source: &str) -> Template {
    match path::parse(source, &path::Patterns::default()) {
        Ok(path) => Template::Expression(Expression::Path(path)),
        Err(_) => Template::Literal(Value::Null),
    }
}

/// The fields of an object's template, expressions or not; none if it is no object.
pub(crate) fn fields(template: Template) -> Vec<(Box<str>, Template)> {
    match template {
        Template::Object(fields) => fields,
        Template::Literal(Value::Object(map)) => map
            .into_iter()
            .map(|(name, value)| (name.into(), Template::Literal(value)))
            .collect(),
        Template::Literal(_) | Template::Array(_) | Template::Expression(_) => Vec::new(),
    }
}
