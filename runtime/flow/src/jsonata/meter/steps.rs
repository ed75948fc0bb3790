//! Paths: counts what each of their steps goes through and yields.
//!
//! Refuses to change the form of a path that binds values along its steps.

use super::{AstNode, BinaryOp, PathStep, Place, Stage, bare};
use super::{
    call, condition, far, heavy, is_literal, per_item, plain_value, prepend, prepend_tick, scalar,
    walks, weigh_context, wrap,
};
use crate::expression::meter::{
    PREFIX, TICK, WEIGH_DEEP, WEIGH_EACH, WEIGH_SHARED, WEIGH_STEP, WEIGH_TREE,
};

/// Makes a path that is read again and again count what each of its steps goes through.
pub(super) fn weigh_path(node: &mut AstNode, at: Place<'_>) {
    let AstNode::Path { steps } = node else {
        return;
    };
    let several = steps.len() > 1;
    let single = steps.len() == 1 && (steps.iter()).all(|step| step.stages.is_empty());
    let Some(first) = steps.first_mut() else {
        return;
    };
    // What the expression made itself may hold one thing many times.
    let mut made = false;
    let begins = match &mut first.node {
        AstNode::Variable(name) => {
            made = at.bound.contains(name) && !single;
            let variable = AstNode::Variable(name.clone());
            match made {
                true => call(WEIGH_TREE, vec![variable]),
                false => variable,
            }
        }
        AstNode::ParentVariable(name) => AstNode::ParentVariable(name.clone()),
        AstNode::Name(_) => AstNode::Variable(String::new()),
        AstNode::Block(items) => {
            let weighing = if single { WEIGH_EACH } else { WEIGH_TREE };
            if let Some(last) = items.last_mut().filter(|last| plain_value(last)) {
                wrap(last, weighing);
            }
            AstNode::Null
        }
        function if several && plain_value(function) => {
            wrap(function, WEIGH_TREE);
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
    let again = at.inside || at.lambda || made || !filters.is_empty();
    if short && !(relative && at.lambda) || !again {
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

pub(super) fn path(steps: &mut [PathStep], at: Place<'_>) {
    let distant = at.inside && steps.first().is_some_and(|s| far(&s.node));
    let mut descended = false;
    let last = steps.len() - 1;
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
            AstNode::Block(items) if i > 0 => {
                if let Some(item) = items.last_mut().filter(|item| !scalar(item)) {
                    weigh_value(item, i == last);
                }
                items.insert(0, call(TICK, Vec::new()));
            }
            AstNode::Variable(name) if name.is_empty() => {}
            node @ (AstNode::Variable(_)
            | AstNode::Function { .. }
            | AstNode::Call { .. }
            | AstNode::Conditional { .. })
                if i > 0 && !scalar(node) =>
            {
                weigh_value(node, i == last);
            }
            AstNode::FunctionApplication(inner) => {
                if !scalar(inner) {
                    weigh_value(inner, i == last);
                }
                prepend_tick(inner);
            }
            node if i > 0 => makes(node),
            _ => {}
        }
    }
}

/// Counts a round of a step that makes an object or a list for each value.
fn makes(node: &mut AstNode) {
    match node {
        AstNode::Object(pairs) => {
            if let Some((_, value)) = pairs.first_mut() {
                prepend_tick(value);
            }
        }
        AstNode::Array(items) | AstNode::ArrayGroup(items) => {
            if let Some(item) = items.first_mut().filter(|item| plain_value(item)) {
                prepend_tick(item);
            }
        }
        _ => {}
    }
}

/// Counts what a step yields for each value that it is given.
fn weigh_value(node: &mut AstNode, last: bool) {
    if plain_value(node) {
        wrap(node, if last { WEIGH_EACH } else { WEIGH_SHARED });
    }
}

/// A path that binds values along its steps: counts the values that each step yields, as
/// often as there are bindings to carry along, but leaves the steps what they are.
pub(super) fn tuples(steps: &mut [PathStep]) {
    let mut bindings = 1.0;
    for (i, step) in steps.iter_mut().enumerate() {
        let creates = step.focus.is_some() || step.index_var.is_some();
        for stage in &mut step.stages {
            match stage {
                Stage::Filter(filter) if !is_literal(filter) => {
                    condition(filter, WEIGH_DEEP);
                    prepend_tick(filter);
                }
                Stage::Index(_) => bindings += 1.0,
                _ => {}
            }
        }
        if creates || step.ancestor_label.is_some() {
            bindings += 1.0;
        }
        let times = AstNode::Number(2.0 * bindings);
        let each = |node: &mut AstNode| {
            let inner = std::mem::replace(node, AstNode::Null);
            *node = call(WEIGH_EACH, vec![inner, times.clone()]);
        };
        match &mut step.node {
            // It looks at its input where it stands first, but for that of `@`.
            AstNode::Variable(name) if i == 0 => {
                if !name.is_empty() && step.focus.is_some() && step.index_var.is_none() {
                    each(&mut step.node);
                }
            }
            AstNode::Block(items) if !step.inner_tuple => {
                if let Some(item) = items.last_mut().filter(|item| plain_value(item)) {
                    each(item);
                }
                items.insert(0, call(TICK, Vec::new()));
            }
            AstNode::FunctionApplication(inner) => {
                if !step.inner_tuple && plain_value(inner) {
                    each(inner);
                }
                prepend_tick(inner);
            }
            AstNode::Descendant | AstNode::Wildcard if i > 0 => {
                weigh_context(&mut step.node);
            }
            AstNode::Name(_) | AstNode::Variable(_) | AstNode::Function { .. } if i > 0 => {
                each(&mut step.node);
            }
            node => makes(node),
        }
        if i == 0 && creates {
            let mut holds = AstNode::Boolean(true);
            prepend(&mut holds, vec![AstNode::Number(bindings)]);
            step.stages.insert(0, Stage::Filter(Box::new(holds)));
        }
    }
}
