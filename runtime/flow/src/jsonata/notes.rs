//! Makes an expression note what it is about to do, so that the words of an error can name
//! it: the function that is called, the values that are compared.
//!
//! Only an expression that has failed is evaluated in this form, once more. Refuses to count:
//! that is the meter's, which is put into the tree afterwards.
//! Source: the errors of JSONata's own implementation, which name what the library does not.

use jsonata_core::ast::{AstNode, BinaryOp, UnaryOp};

use super::{value, walk};
use crate::expression::notes::{
    CALL, DELETE, ENTER, LEAVE, LEFT, NEGATED, RIGHT, SORTED, TERM, UPDATE,
};

/// Puts notes into a tree as it was parsed.
pub(super) fn add(node: &mut AstNode) {
    if let AstNode::Binary {
        op: BinaryOp::ChainPipe,
        lhs,
        rhs,
    } = node
    {
        add(lhs);
        piped(lhs, rhs);
        return;
    }
    walk::children_mut(node, &mut add);
    match node {
        AstNode::Function {
            name,
            args,
            is_builtin: true,
        } => {
            let name = name.clone();
            if !last(args, &name) {
                let inner = std::mem::replace(node, AstNode::Null);
                let called = call(CALL, vec![text(&name), AstNode::Undefined]);
                *node = AstNode::Block(vec![called, inner]);
            }
        }
        // What is called has no name.
        AstNode::Call { args, .. } => {
            last(args, "");
        }
        AstNode::Binary {
            op: op @ (BinaryOp::And | BinaryOp::Or),
            rhs,
            ..
        } => {
            let op = if *op == BinaryOp::And { "and" } else { "or" };
            wrap(rhs, LEAVE, &[]);
            let inner = std::mem::replace(&mut **rhs, AstNode::Null);
            let enter = call(ENTER, vec![text(op), AstNode::Undefined]);
            **rhs = AstNode::Block(vec![enter, inner]);
        }
        AstNode::Binary { op, lhs, rhs } => {
            if let Some(symbol) = ordering(*op) {
                wrap(lhs, LEFT, &[]);
                wrap(rhs, RIGHT, &[symbol]);
            }
        }
        AstNode::Unary {
            op: UnaryOp::Negate,
            operand,
        } if !matches!(**operand, AstNode::Number(_)) => wrap(operand, NEGATED, &[]),
        AstNode::Sort { input, terms } => {
            let ways: String = (terms.iter())
                .map(|(_, ascending)| if *ascending { '<' } else { '>' })
                .collect();
            wrap(input, SORTED, &[&ways]);
            for (term, _) in terms {
                wrap(term, TERM, &[]);
            }
        }
        AstNode::Transform { update, delete, .. } => {
            wrap(update, UPDATE, &[]);
            if let Some(delete) = delete {
                wrap(delete, DELETE, &[]);
            }
        }
        _ => {}
    }
}

/// `left ~> right`: a call by name, or by a value that has none.
fn piped(lhs: &mut AstNode, rhs: &mut AstNode) {
    let step = match &mut *rhs {
        // With a filter, or `[]`.
        AstNode::Path { steps } if steps.len() == 1 => steps.first_mut().map(|s| &mut s.node),
        other => Some(other),
    };
    match step {
        Some(AstNode::Function {
            name,
            args,
            is_builtin: true,
        }) => {
            args.iter_mut().for_each(add);
            if !last(args, name) {
                wrap(lhs, CALL, &[name]);
            }
        }
        // What the library knows keeps its name.
        Some(AstNode::Variable(name)) if value::function(name).is_some() => {
            wrap(lhs, CALL, &[name]);
        }
        _ => {
            add(rhs);
            wrap(lhs, CALL, &[""]);
        }
    }
}

/// Notes a call at the last argument that may be passed on by a function; `false`: there is
/// none. What is written behind it calls nothing.
fn last(args: &mut [AstNode], name: &str) -> bool {
    let fits = |arg: &&mut AstNode| {
        !matches!(
            arg,
            AstNode::Regex { .. }
                | AstNode::Placeholder
                | AstNode::Lambda { .. }
                | AstNode::Transform { .. }
        )
    };
    match args.iter_mut().rev().find(fits) {
        Some(arg) => {
            wrap(arg, CALL, &[name]);
            true
        }
        None => false,
    }
}

fn ordering(op: BinaryOp) -> Option<&'static str> {
    Some(match op {
        BinaryOp::LessThan => "<",
        BinaryOp::LessThanOrEqual => "<=",
        BinaryOp::GreaterThan => ">",
        BinaryOp::GreaterThanOrEqual => ">=",
        _ => return None,
    })
}

/// Makes `node` the last argument of a function that gives it back.
fn wrap(node: &mut AstNode, name: &str, before: &[&str]) {
    let inner = std::mem::replace(node, AstNode::Null);
    let args = before.iter().map(|given| text(given)).chain([inner]);
    *node = call(name, args.collect());
}

fn call(name: &str, args: Vec<AstNode>) -> AstNode {
    AstNode::Function {
        name: name.to_owned(),
        args,
        is_builtin: true,
    }
}

fn text(text: &str) -> AstNode {
    AstNode::String(text.to_owned())
}
