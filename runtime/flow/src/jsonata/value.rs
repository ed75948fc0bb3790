//! Functions of the library, and regular expressions, where they stand as values: in a
//! variable, as an argument, behind `~>`. Each becomes a function of the expression's own
//! that does the same, so that what it costs is counted wherever it is called.
//!
//! Refuses functions whose cost does not grow with what they are given: they stay as they are.

use jsonata_core::ast::{AstNode, BinaryOp};

use super::walk;
use crate::expression::meter::{BACKTRACKS, BUILT_IN, GIVEN, LOCATED, REGEX, TRANSFORMED};
use crate::path::pattern::{Pattern, backtracking_cost};

/// A function that goes through what it is given.
struct BuiltIn {
    name: &'static str,
    /// How many arguments a function is given that calls it: as many as JSONata's own
    /// implementation has.
    most: usize,
    /// How many it cannot do without.
    least: usize,
    /// Its signature, if it takes the value at hand for a missing first argument.
    signature: Option<&'static str>,
}

const fn of(
    name: &'static str,
    least: usize,
    most: usize,
    signature: Option<&'static str>,
) -> BuiltIn {
    BuiltIn {
        name,
        most,
        least,
        signature,
    }
}

/// Source: docs.jsonata.org; the signatures are those of JSONata's own implementation.
const BUILT_INS: [BuiltIn; 52] = [
    of("append", 2, 2, None),
    of("assert", 1, 2, None),
    of("average", 1, 1, None),
    of("base64decode", 1, 1, Some("<s-:s>")),
    of("base64encode", 1, 1, Some("<s-:s>")),
    of("boolean", 1, 1, Some("<x-:b>")),
    of("clone", 1, 1, None),
    of("contains", 2, 2, Some("<s-(sf):b>")),
    of("count", 1, 1, None),
    of("decodeUrl", 1, 1, Some("<s-:s>")),
    of("decodeUrlComponent", 1, 1, Some("<s-:s>")),
    of("distinct", 1, 1, None),
    of("each", 2, 2, Some("<o-f:a>")),
    of("encodeUrl", 1, 1, Some("<s-:s>")),
    of("encodeUrlComponent", 1, 1, Some("<s-:s>")),
    of("filter", 2, 2, None),
    of("formatInteger", 2, 2, Some("<n-s:s>")),
    of("formatNumber", 2, 3, Some("<n-so?:s>")),
    of("hash", 1, 2, None),
    of("join", 1, 2, None),
    of("keys", 1, 1, Some("<x-:a<s>>")),
    of("length", 1, 1, Some("<s-:n>")),
    of("lookup", 2, 2, Some("<x-s:x>")),
    of("lowercase", 1, 1, Some("<s-:s>")),
    of("map", 2, 2, None),
    of("match", 2, 3, Some("<s-f<s:o>n?:a<o>>")),
    of("max", 1, 1, None),
    of("merge", 1, 1, None),
    of("min", 1, 1, None),
    of("not", 1, 1, Some("<x-:b>")),
    of("number", 1, 1, Some("<(nsb)-:n>")),
    of("pad", 2, 3, Some("<s-ns?:s>")),
    of("parse", 1, 1, None),
    of("partition", 2, 2, None),
    of("reduce", 2, 3, None),
    of("replace", 3, 4, Some("<s-(sf)(sf)n?:s>")),
    of("reverse", 1, 1, None),
    of("round", 1, 2, Some("<n-n?:n>")),
    of("shuffle", 1, 1, None),
    of("sift", 2, 2, Some("<o-f?:o>")),
    of("single", 2, 2, None),
    of("sort", 1, 2, None),
    of("split", 2, 3, Some("<s-(sf)n?:a<s>>")),
    of("spread", 1, 1, Some("<x-:a<o>>")),
    of("string", 1, 1, Some("<x-b?:s>")),
    of("substring", 2, 3, Some("<s-nn?:s>")),
    of("substringAfter", 2, 2, Some("<s-s:s>")),
    of("substringBefore", 2, 2, Some("<s-s:s>")),
    of("sum", 1, 1, None),
    of("trim", 1, 1, Some("<s-:s>")),
    of("uppercase", 1, 1, Some("<s-:s>")),
    of("zip", 1, 3, None),
];

fn find(name: &str) -> Option<&'static BuiltIn> {
    let at = BUILT_INS.binary_search_by(|b| b.name.cmp(name)).ok()?;
    BUILT_INS.get(at)
}

/// `$name` as a function of the expression's own; `None`: it costs little.
pub(super) fn function(name: &str) -> Option<AstNode> {
    let built_in = find(name)?;
    let params: Vec<String> = (0..built_in.most).map(|i| format!("given {i}")).collect();
    // An argument that is not there is something else than one without a value.
    let called = |count: usize| AstNode::Function {
        name: name.to_owned(),
        args: params.iter().take(count).map(|p| variable(p)).collect(),
        is_builtin: true,
    };
    let mut body = called(built_in.least);
    for (count, param) in params.iter().enumerate().skip(built_in.least) {
        body = AstNode::Conditional {
            condition: Box::new(AstNode::Function {
                name: GIVEN.to_owned(),
                args: vec![variable(param)],
                is_builtin: true,
            }),
            then_branch: Box::new(called(count + 1)),
            else_branch: Some(Box::new(body)),
        };
    }
    Some(AstNode::Lambda {
        params,
        body: Box::new(body),
        signature: built_in.signature.map(str::to_owned),
        thunk: false,
    })
}

/// Makes what [`function`] gave, and has been changed since, call the library's function
/// though the expression gives its name another meaning: by what the name stands for now.
pub(super) fn captured(name: &str, mut function: AstNode) -> AstNode {
    let native = format!("native {name}");
    rename(&mut function, name, &native);
    AstNode::Block(vec![
        AstNode::Binary {
            op: BinaryOp::ColonEqual,
            lhs: Box::new(variable(&native)),
            rhs: Box::new(variable(name)),
        },
        function,
    ])
}

/// `$name` as a value, which may be a variable of that name: only when it is evaluated is
/// known whose it is. `function` is what [`function`] gives.
pub(super) fn either(name: &str, function: AstNode) -> AstNode {
    AstNode::Conditional {
        condition: Box::new(AstNode::Function {
            name: BUILT_IN.to_owned(),
            args: vec![variable(name)],
            is_builtin: true,
        }),
        then_branch: Box::new(function),
        else_branch: Some(Box::new(variable(name))),
    }
}

/// A regular expression as a function of a text and of where to begin in it.
pub(super) fn regex(pattern: &str, flags: &str) -> AstNode {
    let params = ["regex text", "regex from"];
    let text = |text: &str| AstNode::String(text.to_owned());
    let mut args = vec![text(pattern), text(flags)];
    args.extend(match flags == BACKTRACKS {
        true => backtracking_costs(pattern),
        false => regex_costs(pattern),
    });
    args.extend(params.iter().map(|p| variable(p)));
    AstNode::Lambda {
        params: params.iter().map(|p| (*p).to_owned()).collect(),
        body: Box::new(AstNode::Function {
            name: REGEX.to_owned(),
            args,
            is_builtin: true,
        }),
        signature: None,
        thunk: false,
    }
}

/// What a regular expression costs: to compile, for 16 bytes of text, and for one that is
/// read anew from each of its characters.
pub(super) fn regex_costs(pattern: &str) -> [AstNode; 3] {
    // One that is too large is refused elsewhere.
    let cost = Pattern::of(pattern).unwrap_or(Pattern {
        compile: 10_000,
        each: 10_000,
        rescans: true,
    });
    [cost.compile, cost.each, u64::from(cost.rescans)].map(number)
}

/// What one costs that tracks back: to compile, and whether loops are in it that may go
/// through the text at each way that is tried.
fn backtracking_costs(pattern: &str) -> [AstNode; 3] {
    let loops = pattern.contains(['*', '+', '{']);
    [backtracking_cost(pattern), u64::from(loops), 0].map(number)
}

#[allow(clippy::cast_precision_loss, reason = "small")]
fn number(n: u64) -> AstNode {
    AstNode::Number(n as f64)
}

/// A transformation as a function that weighs what it copies and looks for.
pub(super) fn transform(mut transform: AstNode) -> AstNode {
    if let AstNode::Transform { location, .. } = &mut transform {
        let inner = std::mem::replace(&mut **location, AstNode::Null);
        **location = AstNode::Function {
            name: LOCATED.to_owned(),
            args: vec![inner],
            is_builtin: true,
        };
    }
    let given = "transform given";
    AstNode::Lambda {
        params: vec![given.to_owned()],
        body: Box::new(AstNode::Binary {
            op: BinaryOp::ChainPipe,
            lhs: Box::new(AstNode::Function {
                name: TRANSFORMED.to_owned(),
                args: vec![variable(given)],
                is_builtin: true,
            }),
            rhs: Box::new(transform),
        }),
        signature: None,
        thunk: false,
    }
}

/// Renames every call of a function.
fn rename(node: &mut AstNode, from: &str, to: &str) {
    if let AstNode::Function { name, .. } = node
        && name == from
    {
        to.clone_into(name);
    }
    walk::children_mut(node, &mut |child| rename(child, from, to));
}

fn variable(name: &str) -> AstNode {
    AstNode::Variable(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::BUILT_INS;

    #[test]
    fn names_are_in_order() {
        assert!(BUILT_INS.is_sorted_by_key(|b| b.name));
    }
}
