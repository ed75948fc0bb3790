//! Payload templates: JSON in which fields named `….$` hold expressions.
//!
//! Refuses to evaluate.
//! Source: states-language.net, "Payload Template".

use std::collections::HashMap;

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::expression::Template;
use crate::{intrinsic, path};

/// Compiles a template; parts without expressions stay literal JSON.
pub(crate) fn compile(at: &At<'_, '_>, report: &mut Report) -> Template {
    match &at.node.tree {
        Tree::Object(_) if has_expression(at) => object(at, report),
        Tree::List(items) if has_expression(at) => Template::Array(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| compile(&at.element(i, item), report))
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

fn object(at: &At<'_, '_>, report: &mut Report) -> Template {
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
            Some(_) => expression(&value, report),
            None => compile(&value, report),
        };
        fields.push((plain.into(), template));
    }
    Template::Object(fields)
}

fn expression(at: &At<'_, '_>, report: &mut Report) -> Template {
    let Tree::Text(source) = &at.node.tree else {
        report.error_hint(
            at,
            code::BAD_TEMPLATE,
            format!(
                "a field whose name ends in .$ holds a path or an intrinsic function, not {}",
                at.node.kind()
            ),
            Some("drop the .$ for a literal value".to_owned()),
        );
        return Template::Literal(serde_json::Value::Null);
    };
    match intrinsic::parse(source) {
        Ok(expression) => Template::Expression(expression),
        Err(fault) => {
            report_fault(at, fault, report);
            Template::Literal(serde_json::Value::Null)
        }
    }
}

/// Reports what is wrong with a path or call at the place of its text.
pub(crate) fn report_fault(at: &At<'_, '_>, fault: path::Fault, report: &mut Report) {
    report.error_hint(at, fault.code, fault.message, fault.hint);
}
