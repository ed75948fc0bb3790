//! Payload templates: JSON in which fields named `….$` hold expressions, or, in
//! JSONata mode, strings of the form `{% … %}` do.
//!
//! Refuses to evaluate.
//! Source: states-language.net, "Payload Template".

use std::collections::HashMap;

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::expression::{DataPath, Expression, Query, QueryLanguage, Root, Segment, Template};
use crate::{given, intrinsic, jsonata, path, slip};

/// Compiles a template of either language; `location` is the field's name.
pub(crate) fn compile(
    at: &At<'_, '_>,
    language: QueryLanguage,
    location: &str,
    report: &mut Report,
) -> Template {
    slip::in_template(at, language, location, report);
    match language {
        QueryLanguage::JsonPath => by_name(at, report, &mut intrinsic),
        QueryLanguage::Jsonata => by_value(at, location, report),
    }
}

/// JSONata mode: every string `{% … %}` is an expression.
fn by_value(at: &At<'_, '_>, location: &str, report: &mut Report) -> Template {
    match &at.node.tree {
        Tree::Text(text) => match jsonata::marked(text) {
            Some(source) => Template::Expression(Expression::Jsonata(jsonata::compile(
                at, source, location, report,
            ))),
            None => {
                jsonata::half_marked(at, text, report);
                Template::Literal(at.node.value())
            }
        },
        Tree::Object(members) if has_marked(at) => {
            let fields = members.iter().map(|member| {
                let inner = format!("{location}/{}", member.name);
                (
                    member.name.clone(),
                    by_value(&at.member(member), &inner, report),
                )
            });
            Template::Object(fields.collect())
        }
        Tree::List(items) if has_marked(at) => {
            let items = items.iter().enumerate().map(|(i, item)| {
                by_value(&at.element(i, item), &format!("{location}[{i}]"), report)
            });
            Template::Array(items.collect())
        }
        _ => Template::Literal(at.node.value()),
    }
}

/// Whether a string `{% … %}`, or half of one, occurs anywhere in it.
fn has_marked(at: &At<'_, '_>) -> bool {
    match &at.node.tree {
        Tree::Text(text) => text.starts_with("{%") || text.ends_with("%}"),
        Tree::Object(members) => members.iter().any(|m| has_marked(&at.member(m))),
        Tree::List(items) => items
            .iter()
            .enumerate()
            .any(|(i, item)| has_marked(&at.element(i, item))),
        _ => false,
    }
}

/// How a text behind a field `….$` is compiled; `None` when that was reported.
type Leaf<'l> = dyn FnMut(&At<'_, '_>, &mut Report) -> Option<Expression> + 'l;

/// Expressions stand behind fields `….$`; parts without them stay literal JSON.
pub(crate) fn by_name(at: &At<'_, '_>, report: &mut Report, leaf: &mut Leaf<'_>) -> Template {
    match &at.node.tree {
        Tree::Object(_) if has_expression(at) => object(at, report, leaf),
        Tree::List(items) if has_expression(at) => Template::Array(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| by_name(&at.element(i, item), report, leaf))
                .collect(),
        ),
        _ => Template::Literal(at.node.value()),
    }
}

/// Whether a field named `….$` occurs anywhere in it.
fn has_expression(at: &At<'_, '_>) -> bool {
    let members = at.members();
    members.iter().any(|m| m.name.ends_with(".$"))
        || members.iter().any(|m| has_expression(&at.member(m)))
        || at
            .elements()
            .iter()
            .enumerate()
            .any(|(i, item)| has_expression(&at.element(i, item)))
}

fn object(at: &At<'_, '_>, report: &mut Report, leaf: &mut Leaf<'_>) -> Template {
    let mut names = HashMap::new();
    let mut fields = Vec::with_capacity(at.members().len());
    for member in at.members() {
        let value = at.member(member);
        let name = member.name.strip_suffix(".$");
        let plain = name.unwrap_or(&member.name);
        if let Some(other) = names.insert(plain, &member.name)
            && other != &member.name
        {
            report.error(
                &at.member_name(member),
                code::DUPLICATE_FIELD,
                format!(
                    "the fields {other:?} and {:?} both set {plain:?}",
                    member.name
                ),
            );
        }
        let template = match name {
            Some(_) => expression(&value, report, leaf),
            None => by_name(&value, report, leaf),
        };
        fields.push((plain.into(), template));
    }
    Template::Object(fields)
}

fn expression(at: &At<'_, '_>, report: &mut Report, leaf: &mut Leaf<'_>) -> Template {
    if !matches!(at.node.tree, Tree::Text(_)) {
        report.error_hint(
            at,
            code::BAD_TEMPLATE,
            format!(
                "a field whose name ends in .$ holds an expression, not {}",
                at.node.kind()
            ),
            Some("drop the .$ for a literal value".to_owned()),
        );
        return Template::Literal(serde_json::Value::Null);
    }
    leaf(at, report).map_or(
        Template::Literal(serde_json::Value::Null),
        Template::Expression,
    )
}

/// A path or an intrinsic function.
fn intrinsic(at: &At<'_, '_>, report: &mut Report) -> Option<Expression> {
    let Tree::Text(source) = &at.node.tree else {
        return None;
    };
    match intrinsic::parse(source, &report.patterns) {
        Ok(expression) => {
            note_reads(at, &expression, report);
            Some(expression)
        }
        Err(fault) => {
            report_fault(at, fault, report);
            None
        }
    }
}

/// Reports what is wrong with a path or call at the place of its text.
pub(crate) fn report_fault(at: &At<'_, '_>, fault: path::Fault, report: &mut Report) {
    report.error_inside(at, fault.offset, fault.code, fault.message, fault.hint);
}

/// Notes the variables that a path or call of JSONPath mode reads, and warns of names that
/// the Context object has not.
pub(crate) fn note_reads(at: &At<'_, '_>, expression: &Expression, report: &mut Report) {
    match expression {
        Expression::Path(path) => note_root(at, path, report),
        Expression::Call { arguments, .. } => {
            arguments.iter().for_each(|a| note_reads(at, a, report));
        }
        Expression::Literal(_) | Expression::Jsonata(_) | Expression::Fdl(_) => {}
    }
}

/// Notes the variable that a path begins at, if it does.
pub(crate) fn note_root(at: &At<'_, '_>, path: &DataPath, report: &mut Report) {
    match (&path.root, &path.query) {
        (Root::Variable(name), _) => report.read(at, name),
        (Root::Context, Query::Definite(segments)) => {
            let names = segments.iter().map_while(|segment| match segment {
                Segment::Name(name) => Some(&**name),
                Segment::Index(_) => None,
            });
            given::check_context(at, "$$", &names.collect::<Vec<_>>(), report);
        }
        _ => {}
    }
}
