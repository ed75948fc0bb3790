//! The two sides of a comparison: counts what it costs, and orders texts as UTF-16 does.
//!
//! Refuses to touch what has no order.

use super::{AstNode, argument, call, far, scalar, wrap};
use crate::expression::meter::{ORDER, WEIGH};
use crate::expression::notes::{CALL, LEFT, RIGHT};

/// Compares cost no more than the smaller side: a literal is small, and what is at hand
/// is mostly smaller than what is not.
pub(super) fn compared(lhs: &mut AstNode, rhs: &mut AstNode, weighing: &str) {
    if scalar(lhs) || scalar(rhs) {
        return;
    }
    let side = match far(lhs) && !far(rhs) {
        true => rhs,
        false => lhs,
    };
    if argument(side) {
        wrap(side, weighing);
    }
}

/// Compares by order, of texts that of UTF-16: a number has but one order, and so has a text
/// that no such character is in.
pub(super) fn ordered(lhs: &mut AstNode, rhs: &mut AstNode) {
    let plain = |side: &AstNode| scalar(unnoted(side)) && !late(unnoted(side));
    if plain(&*lhs) || plain(&*rhs) {
        return;
    }
    if ![&*lhs, &*rhs].into_iter().all(|s| scalar(s) || argument(s)) {
        compared(lhs, rhs, WEIGH);
        return;
    }
    let left = std::mem::replace(lhs, AstNode::Number(0.0));
    let right = std::mem::replace(rhs, AstNode::Number(0.0));
    *lhs = call(ORDER, vec![left, right]);
}

/// Whether a literal has a character that UTF-16 orders otherwise than by its code point.
fn late(node: &AstNode) -> bool {
    match node {
        AstNode::String(text) => text.chars().any(|c| c >= '\u{E000}'),
        AstNode::Block(items) => items.last().is_some_and(late),
        _ => false,
    }
}

/// An argument or a side of a comparison without the note around it, and what counts it there.
pub(super) fn unnoted(node: &AstNode) -> &AstNode {
    let AstNode::Function { name, args, .. } = node else {
        return node;
    };
    let noted = [CALL, LEFT, RIGHT].contains(&&**name);
    match args.last().filter(|_| noted) {
        Some(AstNode::Function { name, args, .. }) if name == WEIGH => args.last().unwrap_or(node),
        Some(inner) => inner,
        None => node,
    }
}
