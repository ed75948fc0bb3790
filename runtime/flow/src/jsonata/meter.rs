//! Makes an expression count what it does: wherever the library would loop without
//! asking, a call of a counting function is put into the tree.
//!
//! The library has no counter of its own. The names below hold a blank, so that no
//! expression can name, bind or replace them; the interpreter gives them meaning.
//! Refuses to change what an expression means.

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};

use super::walk;
use crate::expression::meter::{
    DISTINCT, JOIN, PAD, PICTURES, PREFIX, RANGE_FROM, RANGE_TO, REPLACE, TICK, WEIGH, WEIGH_DEEP,
    WEIGH_EACH, WEIGH_KEYS, WEIGH_SORT, WEIGH_SQUARE, WEIGH_STEP, WEIGH_TREE, WEIGH_TRUTH,
};
use crate::path::cost::{regex_cost, rescans};

/// Instruments a whole tree.
pub(super) fn instrument(mut tree: AstNode) -> AstNode {
    let at = Place {
        inside: false,
        lambda: false,
        tuples: has_tuples(&tree),
        rescans: has_rescans(&tree),
    };
    visit(&mut tree, at);
    tree
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Place {
    /// Within something that is evaluated again and again. What is not, costs no more
    /// than a look at all of the data, which is not counted.
    inside: bool,
    /// Within a function: what is at hand may be the same at each call, and large.
    lambda: bool,
    /// The expression has a pattern that may read a text anew from each of its characters.
    rescans: bool,
    /// The expression binds values along paths (`@$x`, `#$i`, `%`): paths stay as they are.
    tuples: bool,
}

fn has_tuples(node: &AstNode) -> bool {
    if let AstNode::Path { steps } = node
        && !steps.iter().all(bare)
    {
        return true;
    }
    let mut found = matches!(node, AstNode::Parent(_));
    walk::children(node, &mut |child| found = found || has_tuples(child));
    found
}

fn has_rescans(node: &AstNode) -> bool {
    if let AstNode::Regex { pattern, .. } = node {
        return rescans(pattern);
    }
    let mut found = false;
    walk::children(node, &mut |child| found = found || has_rescans(child));
    found
}

/// Whether a step binds nothing.
fn bare(step: &PathStep) -> bool {
    step.focus.is_none()
        && step.index_var.is_none()
        && step.ancestor_label.is_none()
        && !step.is_tuple
        && !step.inner_tuple
        && !(step.stages.iter()).any(|stage| matches!(stage, Stage::Index(_)))
}

fn visit(node: &mut AstNode, at: Place) {
    if let AstNode::Binary {
        op: BinaryOp::ChainPipe,
        lhs,
        rhs,
    } = node
        && let AstNode::Function { name, args, .. } = &mut **rhs
    {
        // The left side becomes the function's first argument.
        visit(lhs, at);
        args.iter_mut().for_each(|arg| visit(arg, at));
        function(name, args, true, at);
        if !is_function(lhs) {
            wrap(lhs, WEIGH_DEEP);
        }
        return;
    }
    // Within a path these are steps, and the path's own business.
    let steps = matches!(node, AstNode::Path { .. });
    let within = at.inside
        || matches!(
            node,
            AstNode::Lambda { .. }
                | AstNode::Sort { .. }
                | AstNode::ObjectTransform { .. }
                | AstNode::Transform { .. }
        );
    let mut first = steps;
    let lambda = at.lambda || matches!(node, AstNode::Lambda { .. });
    walk::children_mut(node, &mut |child| {
        // The first step is evaluated once, the others for each of its values.
        let inside = within || (steps && !first);
        first = false;
        if !(steps && walks(child)) {
            let place = Place {
                inside,
                lambda,
                ..at
            };
            visit(child, place);
        }
    });
    match node {
        AstNode::Descendant | AstNode::Wildcard => weigh_context(node),
        AstNode::Array(items) | AstNode::ArrayGroup(items) => {
            let values = items.iter_mut().filter(|item| plain_value(item));
            values.for_each(|item| wrap(item, WEIGH_TREE));
        }
        AstNode::Object(pairs) => {
            let values = pairs.iter_mut().map(|(_, value)| value);
            let values = values.filter(|value| plain_value(value));
            values.for_each(|value| wrap(value, WEIGH_TREE));
        }
        AstNode::Lambda { body, .. } => prepend_tick(body),
        AstNode::Path { steps } => {
            path(steps, at);
            let relative = steps.first().is_some_and(|s| walks(&s.node));
            if relative {
                weigh_context(node);
            } else {
                weigh_path(node, at);
            }
        }
        AstNode::Function { name, args, .. } => function(name, args, false, at),
        AstNode::Variable(name) => {
            if let Some(bounded) = bounded(name) {
                *name = bounded.to_owned();
            } else if name == "append" {
                *node = append();
            }
        }
        AstNode::Binary { op, lhs, rhs } => match op {
            BinaryOp::Concatenate => wrap(node, WEIGH),
            BinaryOp::Range => {
                wrap(lhs, RANGE_FROM);
                wrap(rhs, RANGE_TO);
            }
            BinaryOp::In if scalar(lhs) => wrap(rhs, WEIGH),
            BinaryOp::In => wrap(rhs, WEIGH_DEEP),
            BinaryOp::Equal | BinaryOp::NotEqual => compared(lhs, rhs, WEIGH_DEEP),
            BinaryOp::LessThan
            | BinaryOp::LessThanOrEqual
            | BinaryOp::GreaterThan
            | BinaryOp::GreaterThanOrEqual => compared(lhs, rhs, WEIGH),
            BinaryOp::And | BinaryOp::Or => {
                condition(lhs, WEIGH_TRUTH);
                condition(rhs, WEIGH_TRUTH);
            }
            BinaryOp::Default => condition(lhs, WEIGH_TRUTH),
            _ => {}
        },
        AstNode::Conditional {
            condition: decides, ..
        } => condition(decides, WEIGH_TRUTH),
        AstNode::Sort { input, terms } => {
            terms.iter_mut().for_each(|(term, _)| per_item(term));
            if !at.tuples && plain_value(input) {
                wrap(input, WEIGH_SORT);
            }
        }
        AstNode::ObjectTransform { input, pattern } => {
            pattern.iter_mut().for_each(|(key, _)| per_item(key));
            if !at.tuples && plain_value(input) {
                wrap(input, WEIGH_EACH);
            }
        }
        _ => {}
    }
}

/// The name under which the interpreter has a bounded form of a built-in function.
fn bounded(name: &str) -> Option<&'static str> {
    Some(match name {
        "distinct" => DISTINCT,
        "join" => JOIN,
        "pad" => PAD,
        "replace" => REPLACE,
        _ => return None,
    })
}

/// Whether a step goes through everything below what it is given.
fn walks(node: &AstNode) -> bool {
    matches!(node, AstNode::Descendant | AstNode::Wildcard)
}

/// Counts the data at hand before `node` goes through it.
fn weigh_context(node: &mut AstNode) {
    let inner = std::mem::replace(node, AstNode::Null);
    let context = call(WEIGH_DEEP, vec![AstNode::Variable(String::new())]);
    *node = AstNode::Block(vec![context, inner]);
}

/// Compares cost no more than the smaller side: a literal is small, and what is at hand
/// is mostly smaller than what is not.
fn compared(lhs: &mut AstNode, rhs: &mut AstNode, weighing: &str) {
    if scalar(lhs) || scalar(rhs) {
        return;
    }
    let side = match far(lhs) && !far(rhs) {
        true => rhs,
        false => lhs,
    };
    if plain_value(side) || matches!(side, AstNode::Array(_) | AstNode::Object(_)) {
        wrap(side, weighing);
    }
}

/// What decides is gone through until something in it is true.
fn condition(node: &mut AstNode, weighing: &str) {
    if !scalar(node) && plain_value(node) {
        wrap(node, weighing);
    }
}

/// Whether a value is small, whatever the data.
fn scalar(node: &AstNode) -> bool {
    match node {
        AstNode::String(_) | AstNode::Number(_) | AstNode::Boolean(_) | AstNode::Null => true,
        AstNode::Unary { operand, .. } => scalar(operand),
        AstNode::Binary { op, .. } => !matches!(
            op,
            BinaryOp::Concatenate
                | BinaryOp::Range
                | BinaryOp::ColonEqual
                | BinaryOp::Coalesce
                | BinaryOp::Default
                | BinaryOp::ChainPipe
        ),
        AstNode::Function { name, .. } => matches!(
            name.as_str(),
            "exists"
                | "boolean"
                | "not"
                | "contains"
                | "count"
                | "sum"
                | "length"
                | "number"
                | "type"
                | "floor"
                | "ceil"
                | "round"
                | "abs"
                | "max"
                | "min"
                | "average"
        ),
        AstNode::Block(items) => items.last().is_some_and(scalar),
        _ => false,
    }
}

/// Makes a path that is read again and again count what each of its steps goes through.
fn weigh_path(node: &mut AstNode, at: Place) {
    // The library reads what is bound out of the path's own form.
    if at.tuples {
        return;
    }
    let AstNode::Path { steps } = node else {
        return;
    };
    let Some(first) = steps.first_mut() else {
        return;
    };
    let begins = match &mut first.node {
        AstNode::Variable(name) => AstNode::Variable(name.clone()),
        AstNode::ParentVariable(name) => AstNode::ParentVariable(name.clone()),
        AstNode::Name(_) => AstNode::Variable(String::new()),
        AstNode::Block(items) => {
            if let Some(last) = items.last_mut().filter(|last| plain_value(last)) {
                wrap(last, WEIGH_EACH);
            }
            AstNode::Null
        }
        _ => AstNode::Null,
    };
    let relative = matches!(first.node, AstNode::Name(_));
    let filters: Vec<&AstNode> = (steps.iter())
        .flat_map(|step| &step.stages)
        .filter_map(|stage| match stage {
            Stage::Filter(filter) if !is_literal(filter) => Some(&**filter),
            _ => None,
        })
        .collect();
    let rounds = 1 + filters.len();
    let short = steps.len() == 1 && filters.is_empty();
    if short && !(relative && at.lambda) || !(at.inside || at.lambda || !filters.is_empty()) {
        return;
    }
    let plain = |step: &PathStep| {
        bare(step)
            && !(step.stages.iter()).any(|stage| matches!(stage, Stage::KeepArray))
            && !matches!(
                step.node,
                AstNode::Sort { .. } | AstNode::Array(_) | AstNode::ArrayGroup(_)
            )
    };
    if steps.len() > 2 && steps.iter().all(plain) {
        weigh_prefixes(node);
    }
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let rounds = AstNode::Number(rounds as f64);
    let inner = std::mem::replace(node, AstNode::Null);
    *node = call(WEIGH_STEP, vec![begins, rounds, inner]);
}

/// Counts what each of the first steps yields, before the next goes through it.
fn weigh_prefixes(node: &mut AstNode) {
    let AstNode::Path { steps } = node else {
        return;
    };
    let mut left = std::mem::take(steps).into_iter();
    let mut prefix: Vec<PathStep> = left.by_ref().take(2).collect();
    let variable = || AstNode::Variable(PREFIX.to_owned());
    let mut all = Vec::new();
    for step in left {
        let steps = std::mem::take(&mut prefix);
        all.push(AstNode::Binary {
            op: BinaryOp::ColonEqual,
            lhs: Box::new(variable()),
            rhs: Box::new(call(WEIGH_EACH, vec![AstNode::Path { steps }])),
        });
        prefix.push(PathStep::new(variable()));
        prefix.push(step);
    }
    all.push(AstNode::Path { steps: prefix });
    *node = AstNode::Block(all);
}

fn path(steps: &mut [PathStep], at: Place) {
    let distant = at.inside && steps.first().is_some_and(|s| far(&s.node));
    let mut descended = false;
    let deep = steps.iter().skip(1).any(|s| walks(&s.node));
    if let Some(first) = steps.first_mut()
        && deep
        && far(&first.node)
    {
        wrap(&mut first.node, WEIGH_DEEP);
    }
    for (i, step) in steps.iter_mut().enumerate() {
        for stage in &mut step.stages {
            if let Stage::Filter(filter) = stage {
                if distant && !heavy(filter) && !is_literal(filter) {
                    prepend(filter, vec![AstNode::Number(1.0)]);
                } else {
                    if !is_literal(filter) {
                        condition(filter, WEIGH_DEEP);
                    }
                    per_item(filter);
                }
            }
        }
        match &mut step.node {
            AstNode::Descendant => {
                if descended {
                    let node = std::mem::replace(&mut step.node, AstNode::Null);
                    step.node = AstNode::Block(vec![call(WEIGH_EACH, vec![node])]);
                }
                descended = true;
            }
            AstNode::Block(items) if i > 0 => items.insert(0, call(TICK, Vec::new())),
            AstNode::FunctionApplication(inner) => prepend_tick(inner),
            AstNode::Object(pairs) if i > 0 => {
                if let Some((_, value)) = pairs.first_mut() {
                    prepend_tick(value);
                }
            }
            AstNode::Array(items) | AstNode::ArrayGroup(items) if i > 0 => {
                if let Some(item) = items.first_mut().filter(|item| plain_value(item)) {
                    prepend_tick(item);
                }
            }
            _ => {}
        }
    }
}

/// Costs by the function's name; the functions themselves are the library's.
fn function(name: &mut String, args: &mut Vec<AstNode>, piped: bool, at: Place) {
    // A bounded form has no context of its own: it is given what the library would take.
    let takes = match name.as_str() {
        // What is weighed must be seen.
        "keys" | "boolean" | "not" | "spread" => 1,
        "pad" => 2,
        "replace" => 3,
        _ => 0,
    };
    if args.len() + usize::from(piped) + 1 == takes {
        args.insert(0, AstNode::Variable(String::new()));
    }
    let picture = PICTURES.iter().find(|(plain, _)| plain == name);
    if let Some((_, bounded)) = picture
        && !piped
        && !args.iter().any(|arg| matches!(arg, AstNode::Placeholder))
    {
        args.insert(0, AstNode::Variable(String::new()));
        (*bounded).clone_into(name);
        return;
    }
    let costly = match name.as_str() {
        "distinct" | "string" | "hash" | "parse" | "base64encode" | "base64decode" | "merge"
        | "spread" | "sift" | "each" | "formatNumber" | "match" | "split" | "contains" | "eval"
        | "encodeUrl" | "encodeUrlComponent" | "decodeUrl" | "decodeUrlComponent" | "number" => {
            WEIGH_DEEP
        }
        "zip" => WEIGH_TREE,
        "boolean" | "not" | "assert" => WEIGH_TRUTH,
        "keys" => WEIGH_KEYS,
        "lookup" => WEIGH_EACH,
        "sort" => WEIGH_SORT,
        _ => WEIGH,
    };
    let regex = matches!(name.as_str(), "contains" | "match" | "replace" | "split");
    if let Some(bounded) = bounded(name) {
        *name = bounded.to_owned();
    }
    let costs = args.iter().filter_map(|arg| match arg {
        AstNode::Regex { pattern, .. } => regex_cost(pattern),
        _ => None,
    });
    let compiles = costs.max();
    // Each match may look at all that is left of the text.
    let known = args.iter().find_map(|arg| match arg {
        AstNode::Regex { pattern, .. } => Some(rescans(pattern)),
        _ => None,
    });
    let again = regex && name != "contains" && known.unwrap_or(at.rescans);
    // A function of the library's that is called for each item counts nothing itself.
    let hidden = matches!(
        name.as_str(),
        "map" | "filter" | "single" | "each" | "sift" | "reduce"
    ) && !args.iter().any(|arg| matches!(arg, AstNode::Lambda { .. }));
    let compiled = compiles.filter(|_| hidden);
    for arg in args.iter_mut().filter(|arg| plain_value(arg)) {
        if hidden {
            wrap(arg, WEIGH_DEEP);
            if let Some(cost) = compiled {
                #[allow(clippy::cast_precision_loss, reason = "small")]
                let cost = AstNode::Number(cost as f64);
                let inner = std::mem::replace(arg, AstNode::Null);
                *arg = call(WEIGH_EACH, vec![inner, cost]);
            }
        } else {
            wrap(arg, costly);
        }
    }
    if again && let Some(first) = args.first_mut().filter(|arg| plain_value(arg)) {
        wrap(first, WEIGH_SQUARE);
    }
    if regex && let Some(first) = args.first_mut().filter(|arg| plain_value(arg)) {
        // The library compiles the expression for each call.
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let cost = AstNode::Number(compiles.unwrap_or(20) as f64);
        prepend(first, vec![cost]);
    }
}

/// `$append` as a value: a function that counts each of its calls.
fn append() -> AstNode {
    let variable = |name: &str| AstNode::Variable(name.to_owned());
    let weighed = |name: &str| call(WEIGH, vec![variable(name)]);
    AstNode::Lambda {
        params: vec!["left".to_owned(), "right".to_owned()],
        body: Box::new(AstNode::Function {
            name: "append".to_owned(),
            args: vec![weighed("left"), weighed("right")],
            is_builtin: true,
        }),
        signature: None,
        thunk: false,
    }
}

/// An expression that is evaluated for each of many items.
fn per_item(node: &mut AstNode) {
    if heavy(node) {
        prepend_tick(node);
    }
}

/// Whether one evaluation may cost more than a look at the item itself.
fn heavy(node: &AstNode) -> bool {
    match node {
        AstNode::Function { .. }
        | AstNode::Call { .. }
        | AstNode::Descendant
        | AstNode::Sort { .. }
        | AstNode::Block(_)
        | AstNode::ObjectTransform { .. } => return true,
        AstNode::Path { steps } if steps.first().is_some_and(|s| far(&s.node)) => return true,
        _ => {}
    }
    let mut found = false;
    walk::children(node, &mut |child| found = found || heavy(child));
    found
}

/// Whether it may reach data other than the item at hand.
fn far(node: &AstNode) -> bool {
    match node {
        AstNode::Variable(name) => !name.is_empty(),
        AstNode::ParentVariable(_) | AstNode::Parent(_) | AstNode::Function { .. } => true,
        AstNode::Path { steps } => steps.first().is_some_and(|s| far(&s.node)),
        node => {
            let mut found = false;
            walk::children(node, &mut |child| found = found || far(child));
            found
        }
    }
}

fn is_function(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::Lambda { .. } | AstNode::Variable(_) | AstNode::Transform { .. }
    ) || matches!(node, AstNode::Function { args, .. } if args.iter().any(|a| matches!(a, AstNode::Placeholder | AstNode::Function { .. })))
}

/// Whether a node may be passed through a function unchanged.
fn plain_value(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::Path { .. }
            | AstNode::Variable(_)
            | AstNode::ParentVariable(_)
            | AstNode::Function { .. }
            | AstNode::Block(_)
            | AstNode::Binary { .. }
            | AstNode::Conditional { .. }
    )
}

fn call(name: &str, args: Vec<AstNode>) -> AstNode {
    AstNode::Function {
        name: name.to_owned(),
        args,
        is_builtin: true,
    }
}

/// Makes `node` an argument of a function that gives it back.
fn wrap(node: &mut AstNode, name: &str) {
    let inner = std::mem::replace(node, AstNode::Null);
    *node = call(name, vec![inner]);
}

/// Counts a round, then evaluates `node` as before.
fn prepend_tick(node: &mut AstNode) {
    prepend(node, Vec::new());
}

fn prepend(node: &mut AstNode, operations: Vec<AstNode>) {
    let inner = std::mem::replace(node, AstNode::Null);
    *node = AstNode::Block(vec![call(TICK, operations), inner]);
}

/// An index or another constant: the library has a shorter way for those.
fn is_literal(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::Number(_) | AstNode::String(_) | AstNode::Boolean(_)
    ) || matches!(node, AstNode::Unary { operand, .. } if is_literal(operand))
}
