//! Makes an expression count what it does: wherever the library would loop without
//! asking, a call of a counting function is put into the tree.
//!
//! The library has no counter of its own. The names below hold a blank, so that no
//! expression can name, bind or replace them; the interpreter gives them meaning.
//! Refuses to change what an expression means.

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage};

mod sides;
mod steps;

use std::collections::BTreeSet;

use super::{free, value, walk};
use crate::expression::meter::{
    BACKTRACKS, BOUNDED, CHECK_NUMBER, FILLED, LISTED, ORDER_KEY, PATTERN, PATTERN_ALL, PICTURES,
    RANGE_FROM, RANGE_TO, ROUND, SPLIT, SUBJECT, TICK, URLS, WEIGH, WEIGH_DEEP, WEIGH_EACH,
    WEIGH_KEYS, WEIGH_LINES, WEIGH_SHARED, WEIGH_SORT, WEIGH_TREE, WEIGH_TRUTH,
};
use sides::{compared, ordered, unnoted};
use steps::{path, tuples, weigh_path};

/// Instruments a whole tree.
pub(super) fn instrument(mut tree: AstNode) -> AstNode {
    let bound = free::bound(&tree);
    let tuples = has_tuples(&tree);
    let at = Place {
        inside: false,
        lambda: false,
        kept: false,
        bound: &bound,
    };
    visit(&mut tree, at);
    if tuples {
        // The library makes all of the result anew, to take what paths have bound out of it.
        wrap(&mut tree, WEIGH_SHARED);
    }
    tree
}

fn has_tuples(node: &AstNode) -> bool {
    if matches!(node, AstNode::Path { steps } if !steps.iter().all(bare)) {
        return true;
    }
    let mut found = false;
    walk::children(node, &mut |child| found = found || has_tuples(child));
    found
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Within something that is evaluated again and again. What is not, costs no more
    /// than a look at all of the data, which is not counted.
    inside: bool,
    /// Within a function: what is at hand may be the same at each call, and large.
    lambda: bool,
    /// It is sorted or grouped, which the library does by its form.
    kept: bool,
    /// Names that the expression gives values to.
    bound: &'a BTreeSet<String>,
}

impl Place<'_> {
    /// Within a function of the expression's own.
    fn in_lambda(self) -> Self {
        Place {
            inside: true,
            lambda: true,
            kept: false,
            ..self
        }
    }

    /// Whether a call by this name may be one of the expression's own functions.
    fn is_own(&self, name: &str) -> bool {
        self.bound.contains(name)
    }
}

/// Whether a step binds nothing (`@$x`, `#$i`, `%`): the library reads what is bound out of
/// the path's own form, which stays as it is.
fn bare(step: &PathStep) -> bool {
    step.focus.is_none()
        && step.index_var.is_none()
        && step.ancestor_label.is_none()
        && !step.is_tuple
        && !step.inner_tuple
        && !(step.stages.iter()).any(|stage| matches!(stage, Stage::Index(_)))
}

fn visit(node: &mut AstNode, at: Place<'_>) {
    if as_value(node, at) || piped(node, at) {
        return;
    }
    // Within a path these are steps, and the path's own business.
    let steps = matches!(node, AstNode::Path { .. });
    let within = at.inside
        || matches!(
            node,
            AstNode::Lambda { .. } | AstNode::Sort { .. } | AstNode::ObjectTransform { .. }
        );
    let kept = at.kept;
    let grouped = matches!(node, AstNode::Sort { .. } | AstNode::ObjectTransform { .. });
    let mut first = true;
    let lambda = at.lambda || matches!(node, AstNode::Lambda { .. });
    let pattern = pattern_at(node, at).map(std::ptr::from_ref);
    // What is assigned to is no value.
    let assigns = matches!(
        node,
        AstNode::Binary {
            op: BinaryOp::ColonEqual,
            ..
        }
    );
    let applies = matches!(
        node,
        AstNode::Binary { op: BinaryOp::ChainPipe, rhs, .. } if !is_call(rhs)
    );
    let mut skipped = assigns || reads_variable(node);
    walk::children_mut(node, &mut |child| {
        // The first step is evaluated once, the others for each of its values.
        let inside = within || (steps && !first);
        let kept = grouped && std::mem::take(&mut first) && matches!(child, AstNode::Path { .. });
        first = false;
        let literal = pattern.is_some_and(|p| std::ptr::eq(p, child));
        let skip = std::mem::take(&mut skipped) || literal || (steps && walks(child));
        if !skip {
            let place = Place {
                inside,
                lambda,
                kept,
                ..at
            };
            visit(child, place);
        }
    });
    match node {
        AstNode::Descendant | AstNode::Wildcard => weigh_context(node),
        AstNode::Array(items) | AstNode::ArrayGroup(items) => {
            // What an item that is an array holds is copied.
            for item in items.iter_mut().filter(|item| plain_value(item)) {
                wrap(item, WEIGH_TREE);
                wrap(item, WEIGH_EACH);
            }
        }
        AstNode::Object(pairs) => {
            let values = pairs.iter_mut().map(|(_, value)| value);
            let values = values.filter(|value| plain_value(value));
            values.for_each(|value| wrap(value, WEIGH_TREE));
        }
        AstNode::Lambda { body, .. } => prepend_tick(body),
        AstNode::Path { steps } if kept || !steps.iter().all(bare) => tuples(steps),
        AstNode::Path { steps } => {
            path(steps, at);
            let relative = steps.first().is_some_and(|s| walks(&s.node));
            if relative {
                weigh_context(node);
            } else {
                weigh_path(node, at);
            }
        }
        AstNode::Function { .. } => call_of(node, at),
        AstNode::Binary { op, lhs, rhs } => match op {
            BinaryOp::Concatenate => {
                // What is no text is printed.
                for side in [&mut **lhs, &mut **rhs] {
                    if argument(side) && !scalar(side) {
                        wrap(side, WEIGH_DEEP);
                    }
                }
                wrap(node, WEIGH);
            }
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
            | BinaryOp::GreaterThanOrEqual => ordered(lhs, rhs),
            BinaryOp::And | BinaryOp::Or => {
                condition(lhs, WEIGH_TRUTH);
                condition(rhs, WEIGH_TRUTH);
            }
            BinaryOp::Default => condition(lhs, WEIGH_TRUTH),
            // A call would be given the left side; this is a function that is applied to it.
            BinaryOp::ChainPipe if applies && is_call(rhs) => {
                let inner = std::mem::replace(&mut **rhs, AstNode::Null);
                **rhs = AstNode::Block(vec![inner]);
            }
            _ => {}
        },
        AstNode::Conditional {
            condition: decides, ..
        } => condition(decides, WEIGH_TRUTH),
        // Evaluated for each item.
        AstNode::Sort { terms, .. } => {
            for (term, _) in terms {
                if plain_value(term) {
                    wrap(term, ORDER_KEY);
                }
                prepend_tick(term);
            }
        }
        AstNode::ObjectTransform { pattern, .. } => {
            pattern.iter_mut().for_each(|(key, _)| prepend_tick(key));
        }
        _ => {}
    }
}

/// What is called later, by whatever name: a function of the library, a regular expression,
/// a transformation. `false`: the node is none of these.
fn as_value(node: &mut AstNode, at: Place<'_>) -> bool {
    match node {
        AstNode::Variable(name) => {
            let Some(function) = built_in(name, at) else {
                return false;
            };
            *node = value::either(name, function);
        }
        AstNode::Regex { pattern, flags } => *node = value::regex(pattern, flags),
        AstNode::Transform { .. } => {
            walk::children_mut(node, &mut |child| visit(child, at.in_lambda()));
            let inner = std::mem::replace(node, AstNode::Null);
            *node = value::transform(inner);
        }
        _ => return false,
    }
    true
}

/// Whether `~>` gives this the left side as an argument: a call, perhaps with a filter or `[]`.
fn is_call(node: &AstNode) -> bool {
    match node {
        AstNode::Path { steps } if steps.len() == 1 => steps.iter().all(|s| is_call(&s.node)),
        AstNode::Function { .. } | AstNode::Call { .. } => true,
        _ => false,
    }
}

/// `left ~> $f(…)`, of which the left side is the first argument. `false`: it is none, or one
/// of the expression's own functions without a filter, which needs no care.
fn piped(node: &mut AstNode, at: Place<'_>) -> bool {
    let AstNode::Binary {
        op: BinaryOp::ChainPipe,
        lhs,
        rhs,
    } = node
    else {
        return false;
    };
    let filtered = matches!(**rhs, AstNode::Path { .. });
    let call = match &mut **rhs {
        // With a filter, or `[]`.
        AstNode::Path { steps } if steps.len() == 1 => steps.first_mut().map(|s| &mut s.node),
        other => Some(other),
    };
    match call {
        Some(AstNode::Function {
            name,
            args,
            is_builtin: true,
        }) if !partial(args) && !at.is_own(name) => {
            visit(lhs, at);
            let pattern = args.first_mut().filter(|_| takes_pattern(name));
            let literal = pattern.is_some_and(|p| matches!(p, AstNode::Regex { .. }));
            for arg in args.iter_mut().skip(usize::from(literal)) {
                visit(arg, at);
            }
            function(name, args, Some(lhs));
        }
        // As a path it would be weighed, and is a call that takes the left side no more.
        Some(call) if filtered && is_call(call) => {
            visit(lhs, at);
            visit(call, at);
        }
        _ => return false,
    }
    if let AstNode::Path { steps } = &mut **rhs {
        for stage in steps.iter_mut().flat_map(|step| &mut step.stages) {
            if let Stage::Filter(filter) = stage
                && !is_literal(filter)
            {
                visit(
                    filter,
                    Place {
                        inside: true,
                        kept: false,
                        ..at
                    },
                );
                condition(filter, WEIGH_DEEP);
                prepend_tick(filter);
            }
        }
    }
    true
}

/// A function of the library as one that counts.
fn built_in(name: &str, at: Place<'_>) -> Option<AstNode> {
    let mut function = value::function(name)?;
    let none = BTreeSet::new();
    let within = Place {
        inside: true,
        lambda: true,
        kept: false,
        bound: &none,
    };
    visit(&mut function, within);
    Some(match at.is_own(name) {
        true => value::captured(name, function),
        false => function,
    })
}

fn takes_pattern(name: &str) -> bool {
    matches!(name, "contains" | "match" | "replace" | "split")
}

/// The regular expression that stands as the pattern of a call.
fn pattern_at<'n>(node: &'n AstNode, at: Place<'_>) -> Option<&'n AstNode> {
    let AstNode::Function {
        name,
        args,
        is_builtin: true,
    } = node
    else {
        return None;
    };
    if !takes_pattern(name) || partial(args) || at.is_own(name) {
        return None;
    }
    let second = args.get(usize::from(args.len() > 1));
    second.filter(|arg| matches!(arg, AstNode::Regex { .. }))
}

/// Whether a path's first step can be nothing but a variable of the flow or the expression:
/// a function has no fields.
fn reads_variable(node: &AstNode) -> bool {
    let AstNode::Path { steps } = node else {
        return false;
    };
    matches!(&steps[..], [first, rest @ ..] if !rest.is_empty()
        && matches!(first.node, AstNode::Variable(_))
        && first.stages.is_empty()
        && rest.iter().all(|step| matches!(step.node, AstNode::Name(_))))
}

/// Whether some arguments are left open.
fn partial(args: &[AstNode]) -> bool {
    args.iter().any(|arg| matches!(arg, AstNode::Placeholder))
}

/// A call: of a function of the library, or of something that goes by the same name.
fn call_of(node: &mut AstNode, at: Place<'_>) {
    let AstNode::Function {
        name,
        args,
        is_builtin: true,
    } = node
    else {
        return;
    };
    let own = at.is_own(name);
    if !own && !partial(args) {
        function(name, args, None);
        return;
    }
    let Some(built_in) = built_in(name, at) else {
        return;
    };
    let procedure = match own {
        true => value::either(name, built_in),
        false => built_in,
    };
    *node = AstNode::Call {
        procedure: Box::new(procedure),
        args: std::mem::take(args),
    };
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
                | ROUND
                | "abs"
                | "max"
                | "min"
                | "average"
        ),
        AstNode::Block(items) => items.last().is_some_and(scalar),
        _ => false,
    }
}

/// Costs by the function's name; the functions themselves are the library's. `piped` is
/// the first argument if it stands before a `~>`.
fn function(name: &mut String, args: &mut Vec<AstNode>, piped: Option<&mut AstNode>) {
    let splits = name == "split" && may_track_back(args, piped.is_some());
    // A bounded form has no context of its own: it is given what the library would take.
    let takes = match name.as_str() {
        "split" if splits => 2,
        // What is weighed must be seen.
        "keys" | "boolean" | "not" | "spread" => 1,
        "number" | "formatBase" | "round" | "clone" => 1,
        "pad" => 2,
        "replace" => 3,
        _ => 0,
    };
    // Where the last argument cannot be the last, it is not the first that is missing.
    let fits = match (name.as_str(), args.last().map(unnoted)) {
        ("pad", Some(AstNode::String(_))) => false,
        ("replace", Some(last)) => !scalar(last) || matches!(last, AstNode::String(_)),
        _ => true,
    };
    if piped.is_none() && fits && args.len() + 1 == takes {
        args.insert(0, AstNode::Variable(String::new()));
    }
    let given = PICTURES.iter().chain(&URLS);
    if let Some((_, bounded)) = given.clone().find(|(plain, _)| plain == name)
        && piped.is_none()
    {
        args.insert(0, AstNode::Variable(String::new()));
        (*bounded).clone_into(name);
        return;
    }
    let count = args.len() + usize::from(piped.is_some());
    let costly = match name.as_str() {
        "string" if count > 1 => WEIGH_LINES,
        "distinct" | "string" | "hash" | "parse" | "base64encode" | "base64decode" | "merge"
        | "spread" | "sift" | "each" | "formatNumber" | "eval" | "number" => WEIGH_DEEP,
        "zip" => WEIGH_TREE,
        "boolean" | "not" | "assert" => WEIGH_TRUTH,
        "keys" => WEIGH_KEYS,
        "map" | "filter" | "single" | "reduce" | "lookup" => WEIGH_EACH,
        "sort" => WEIGH_SORT,
        _ => WEIGH,
    };
    let pattern = takes_pattern(name);
    let trying = match name.as_str() {
        // It stops at the first.
        "contains" => PATTERN,
        _ => PATTERN_ALL,
    };
    let mut all: Vec<&mut AstNode> = piped.into_iter().chain(args.iter_mut()).collect();
    for (i, arg) in all.iter_mut().enumerate() {
        match i {
            // The text is the value at hand.
            0 if pattern && count == 1 => {
                tried(arg, trying);
                let subject = call(SUBJECT, vec![AstNode::Variable(String::new())]);
                let inner = std::mem::replace(&mut **arg, AstNode::Null);
                **arg = AstNode::Block(vec![subject, inner]);
            }
            0 if pattern => wrap(arg, SUBJECT),
            1 if pattern => tried(arg, trying),
            _ if argument(arg) => {
                if name == "lookup" {
                    wrap(arg, WEIGH_TREE);
                }
                wrap(arg, costly);
            }
            _ => {}
        }
    }
    let first = all.into_iter().next();
    if let (Some(first), Some(checking)) = (first, checked(name, count)) {
        wrap(first, checking);
    }
    let bounded = match splits {
        true => Some(SPLIT),
        // By a function, which the library calls.
        false if name == "sort" && count > 1 => None,
        false => (BOUNDED.iter().find(|(plain, _)| plain == name)).map(|(_, bounded)| *bounded),
    };
    if let Some(bounded) = bounded {
        bounded.clone_into(name);
    }
}

/// Whether what `$split` splits by may be a regular expression that tracks back: one is
/// written there, or what is there is known when it is evaluated.
fn may_track_back(args: &[AstNode], piped: bool) -> bool {
    let second = usize::from(!piped && args.len() > 1);
    args.get(second).is_some_and(|pattern| match pattern {
        AstNode::Regex { flags, .. } => flags == BACKTRACKS,
        other => plain_value(other),
    })
}

/// What looks at the first argument of a function where the library is laxer than JSONata.
fn checked(name: &str, count: usize) -> Option<&'static str> {
    match (name, count) {
        ("number", _) => Some(CHECK_NUMBER),
        ("filter", _) => Some(LISTED),
        // Without a value to begin with.
        ("reduce", 2) => Some(FILLED),
        _ => None,
    }
}

/// Makes a pattern count what trying it on the text before it costs.
fn tried(node: &mut AstNode, weighing: &str) {
    let costs = match node {
        AstNode::Regex { pattern, flags } if flags == BACKTRACKS => {
            *node = value::regex(pattern, flags);
            None
        }
        AstNode::Regex { pattern, .. } => Some(value::regex_costs(pattern)),
        _ => None,
    };
    let inner = std::mem::replace(node, AstNode::Null);
    let args = std::iter::once(inner).chain(costs.into_iter().flatten());
    *node = call(weighing, args.collect());
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

/// Whether a node may be passed through a function unchanged.
fn plain_value(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::Path { .. }
            | AstNode::Variable(_)
            | AstNode::ParentVariable(_)
            | AstNode::Name(_)
            | AstNode::Function { .. }
            | AstNode::Call { .. }
            | AstNode::Block(_)
            | AstNode::Binary { .. }
            | AstNode::Conditional { .. }
    )
}

/// Whether a function or a comparison may be given a node through another function.
fn argument(node: &AstNode) -> bool {
    plain_value(node)
        || matches!(
            node,
            AstNode::Sort { .. }
                | AstNode::ObjectTransform { .. }
                | AstNode::Array(_)
                | AstNode::Object(_)
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
