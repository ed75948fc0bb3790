//! Where `^(…)` belongs: it binds no tighter than a comparison, and the parser has it as tight
//! as `[…]`. So `"a" & $rows^(n)` sorts the text, as in JSONata's own implementation.
//!
//! Refuses to move what stands in parentheses.
//! Source: the binding powers of jsonata-js 2.0.6.

use jsonata_core::ast::{AstNode, BinaryOp};

use super::walk;

/// Makes each `^(…)` sort all that stands before it, back to the last `and`, `or`, `?`, `:=`
/// or `..`.
pub(super) fn rebind(node: &mut AstNode) {
    walk::children_mut(node, &mut rebind);
    let early = match node {
        AstNode::Binary { op, rhs, .. } => tighter(*op) && begins_sorted(rhs),
        AstNode::Unary { operand, .. } => begins_sorted(operand),
        _ => false,
    };
    if !early {
        return;
    }
    let mut before = std::mem::replace(node, AstNode::Null);
    let side = match &mut before {
        AstNode::Binary { rhs, .. } => rhs,
        AstNode::Unary { operand, .. } => operand,
        _ => return,
    };
    let mut sorted = std::mem::replace(&mut **side, AstNode::Null);
    if let Some(input) = sorted_input(&mut sorted) {
        **side = std::mem::replace(input, AstNode::Null);
        *input = before;
    }
    *node = sorted;
}

/// Whether a node begins with a `^(…)` that is in no parentheses.
fn begins_sorted(node: &AstNode) -> bool {
    match node {
        AstNode::Sort { .. } => true,
        // What is sorted is its left side alone, as in `1 + n^($) * 2`.
        AstNode::Binary { op, lhs, .. } => tighter(*op) && begins_sorted(lhs),
        AstNode::ObjectTransform { input, .. } => begins_sorted(input),
        AstNode::Path { steps } => steps.first().is_some_and(|s| begins_sorted(&s.node)),
        _ => false,
    }
}

/// What the first `^(…)` of a node sorts.
fn sorted_input(node: &mut AstNode) -> Option<&mut AstNode> {
    match node {
        AstNode::Sort { input, .. } => match begins_sorted(input) {
            true => sorted_input(input),
            false => Some(input),
        },
        AstNode::Binary { lhs, .. } => sorted_input(lhs),
        AstNode::ObjectTransform { input, .. } => sorted_input(input),
        AstNode::Path { steps } => sorted_input(&mut steps.first_mut()?.node),
        _ => None,
    }
}

fn tighter(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Modulo
            | BinaryOp::Concatenate
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::LessThan
            | BinaryOp::LessThanOrEqual
            | BinaryOp::GreaterThan
            | BinaryOp::GreaterThanOrEqual
            | BinaryOp::In
            | BinaryOp::ChainPipe
    )
}
