//! What stands below a node of a JSONata tree.
//!
//! Refuses to judge: it only goes everywhere.

use jsonata_core::ast::{AstNode, PathStep, Stage};

macro_rules! each {
    ($nodes:expr, $f:expr) => {
        for node in $nodes {
            $f(node);
        }
    };
}

macro_rules! each_pair {
    ($pairs:expr, $f:expr) => {
        for (key, value) in $pairs {
            $f(key);
            $f(value);
        }
    };
}

/// One list of the places where nodes stand, for shared and for exclusive references.
macro_rules! each_child {
    ($node:expr, $f:expr) => {
        match $node {
            AstNode::Path { steps } => {
                for PathStep { node, stages, .. } in steps {
                    $f(node);
                    for stage in stages {
                        if let Stage::Filter(filter) = stage {
                            $f(filter);
                        }
                    }
                }
            }
            AstNode::Binary { lhs, rhs, .. } => {
                $f(lhs);
                $f(rhs);
            }
            AstNode::Unary { operand, .. } => $f(operand),
            AstNode::Function { args, .. } => each!(args, $f),
            AstNode::Call { procedure, args } => {
                $f(procedure);
                each!(args, $f);
            }
            AstNode::Lambda { body, .. } => $f(body),
            AstNode::Array(items) | AstNode::Block(items) | AstNode::ArrayGroup(items) => {
                each!(items, $f);
            }
            AstNode::Object(pairs) => each_pair!(pairs, $f),
            AstNode::ObjectTransform { input, pattern } => {
                $f(input);
                each_pair!(pattern, $f);
            }
            AstNode::Conditional {
                condition,
                then_branch,
                else_branch,
            } => {
                $f(condition);
                $f(then_branch);
                if let Some(branch) = else_branch {
                    $f(branch);
                }
            }
            AstNode::FunctionApplication(inner) => $f(inner),
            AstNode::Sort { input, terms } => {
                $f(input);
                for (term, _) in terms {
                    $f(term);
                }
            }
            AstNode::Transform {
                location,
                update,
                delete,
            } => {
                $f(location);
                $f(update);
                if let Some(delete) = delete {
                    $f(delete);
                }
            }
            AstNode::String(_)
            | AstNode::Name(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::Variable(_)
            | AstNode::ParentVariable(_)
            | AstNode::Wildcard
            | AstNode::Descendant
            | AstNode::Parent(_) => {}
        }
    };
}

/// Calls `f` on every node right below.
pub(super) fn children<'n>(node: &'n AstNode, f: &mut dyn FnMut(&'n AstNode)) {
    each_child!(node, f);
}

/// As [`children`], to change them.
pub(super) fn children_mut(node: &mut AstNode, f: &mut dyn FnMut(&mut AstNode)) {
    each_child!(node, f);
}
