//! The variables that an expression reads from outside: those that nothing in it binds, and
//! that are no functions.
//!
//! Refuses to be exact about scopes: a name bound anywhere in the expression counts as its own.

use std::collections::BTreeSet;

use jsonata_core::ast::{AstNode, BinaryOp, Stage};

use super::walk;
use crate::given::FUNCTIONS;

/// Each name once. One that the expression asks `$exists` of is none: it knows that there may be
/// no value, as in `$exists($n) ? $n + 1 : 1`.
pub(super) fn of(tree: &AstNode) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    let mut asked = BTreeSet::new();
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        match node {
            AstNode::Variable(name) if !name.is_empty() => {
                read.insert(name.clone());
            }
            // To ask whether there is a value is no wrong way of reading it.
            AstNode::Function { name, args, .. } if name == "exists" => {
                for arg in args {
                    match root(arg) {
                        Some(name) => {
                            asked.insert(name.to_owned());
                        }
                        None => open.push(arg),
                    }
                }
                continue;
            }
            _ => {}
        }
        walk::children(node, &mut |child| open.push(child));
    }
    let bound = bound(tree);
    let given = |name: &str| matches!(name, "states" | "eval") || FUNCTIONS.contains(&name);
    read.retain(|name| !bound.contains(name) && !asked.contains(name) && !given(name));
    read
}

/// The variable that a node is, or that it is a path from.
fn root(node: &AstNode) -> Option<&str> {
    match node {
        AstNode::Variable(name) => Some(name),
        AstNode::Path { steps } => match steps.first().map(|step| &step.node) {
            Some(AstNode::Variable(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// The functions that an expression calls by names that it does not bind, each once.
pub(super) fn calls(tree: &AstNode) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        if let AstNode::Function {
            name,
            is_builtin: true,
            ..
        } = node
        {
            calls.insert(name.clone());
        }
        walk::children(node, &mut |child| open.push(child));
    }
    let bound = bound(tree);
    calls.retain(|name| !bound.contains(name));
    calls
}

/// The paths `$states.name.name…` of an expression, as far as they are plain names, each once;
/// none, if it gives `$states` a meaning of its own.
pub(super) fn below_states(tree: &AstNode) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    if bound(tree).contains("states") {
        return paths;
    }
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        if let AstNode::Path { steps } = node
            && let [first, rest @ ..] = &steps[..]
            && matches!(&first.node, AstNode::Variable(name) if name == "states")
        {
            let names = rest.iter().map_while(|step| match &step.node {
                AstNode::Name(name) => Some(name.clone()),
                _ => None,
            });
            paths.insert(names.collect());
        }
        walk::children(node, &mut |child| open.push(child));
    }
    paths
}

/// What an expression reads from a context that it does not have, each once: names without
/// `$states` or a variable before them, `$`, and `$$`.
pub(super) fn without_context(tree: &AstNode) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    read_context(tree, true, &mut found);
    found
}

/// `top`: nothing around the node gives it a context.
fn read_context(node: &AstNode, top: bool, found: &mut BTreeSet<String>) {
    match node {
        // The whole data, wherever it is read.
        AstNode::ParentVariable(_) => {
            found.insert("$$".to_owned());
        }
        AstNode::Variable(name) if top && name.is_empty() => {
            found.insert("$".to_owned());
        }
        AstNode::Name(name) if top => {
            found.insert(name.clone());
        }
        AstNode::Path { steps } => {
            for (i, step) in steps.iter().enumerate() {
                read_context(&step.node, top && i == 0, found);
                for stage in &step.stages {
                    if let Stage::Filter(filter) = stage {
                        read_context(filter, false, found);
                    }
                }
            }
        }
        AstNode::Sort { input, terms } => {
            read_context(input, top, found);
            terms
                .iter()
                .for_each(|(term, _)| read_context(term, false, found));
        }
        AstNode::ObjectTransform { input, pattern } => {
            read_context(input, top, found);
            for (key, value) in pattern {
                read_context(key, false, found);
                read_context(value, false, found);
            }
        }
        AstNode::Transform { .. } => {
            walk::children(node, &mut |child| read_context(child, false, found));
        }
        node => walk::children(node, &mut |child| read_context(child, top, found)),
    }
}

/// The names that an expression gives values to, anywhere in it.
pub(super) fn bound(tree: &AstNode) -> BTreeSet<String> {
    let mut bound = BTreeSet::new();
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        match node {
            AstNode::Binary {
                op: BinaryOp::ColonEqual,
                lhs,
                ..
            } => {
                if let AstNode::Variable(name) = &**lhs {
                    bound.insert(name.clone());
                }
            }
            AstNode::Lambda { params, .. } => bound.extend(params.iter().cloned()),
            AstNode::Path { steps } => {
                for step in steps {
                    bound.extend(step.focus.clone());
                    bound.extend(step.index_var.clone());
                    bound.extend(step.stages.iter().filter_map(|stage| match stage {
                        Stage::Index(name) => Some(name.clone()),
                        Stage::Filter(_) | Stage::KeepArray => None,
                    }));
                }
            }
            _ => {}
        }
        walk::children(node, &mut |child| open.push(child));
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::{of, without_context};
    use jsonata_core::parser::parse;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let found: Vec<_> = of(&parse(source).expect("an expression"))
            .into_iter()
            .collect();
        assert_eq!(found.join(" "), expected, "{source}");
    }

    #[test]
    fn what_needs_a_context() {
        let check = |source: &str, expected: &str| {
            let found = without_context(&parse(source).expect("an expression"));
            let found: Vec<_> = found.into_iter().collect();
            assert_eq!(found.join(" "), expected, "{source}");
        };
        check("foo", "foo");
        check("input.x + 1", "input");
        check("$", "$");
        check("$.a & $$.b", "$ $$");
        check("$states.input.a[b > 1 and $.c]", "");
        check("$x.{'a': b, 'c': $}", "");
        check("$x^(a, >b).c{d: e}", "");
        check("$x.a[$$.limit > b]", "$$");
        check("$map($x, function($v) { $v.a & b })", "b");
        check("$x ~> |a|{'b': c}|", "");
        check("{'a': b}", "b");
        check("$x.(a; $count(b))", "");
    }

    #[test]
    fn what_comes_from_outside() {
        check("1 + 1", "");
        check("$x.y + $sum($states.input.n)", "x");
        check("($a := $b; $a + $c)", "b c");
        check("$map([1], function($v, $i) { $v + $z })", "z");
        check("$map($list, $string)", "list");
        check(
            "$states.input.items@$i[$i.n = $limit]#$k.{'k': $k}",
            "limit",
        );
        check("$exists($x) ? $y : 0", "y");
        check("$exists($x) ? $x + 1 : $y", "y");
        check("$exists($x.a) and $x.a > 1", "");
        check("$exists($x.a) ? 1 : $exists([$z])", "z");
        check("$ ~> $uppercase", "");
    }
}
