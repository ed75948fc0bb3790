//! Which of its surroundings an expression reads, so that nothing else is made ready.
//!
//! Refuses to be exact where that is hard: it may name more than is read, never less.

use jsonata_core::ast::{AstNode, PathStep};

use super::walk;
use crate::expression::Needs;

pub(super) fn of(tree: &AstNode) -> Needs {
    let mut needs = Needs::default();
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        match node {
            AstNode::Path { steps } if reads_states(steps, &mut needs) => {
                // The first two steps are spoken for, but for the second's filters.
                let second = steps.iter().skip(1).take(1).flat_map(|s| &s.stages);
                open.extend(second.filter_map(filter));
                for step in steps.iter().skip(2) {
                    open.push(&step.node);
                    open.extend(step.stages.iter().filter_map(filter));
                }
                continue;
            }
            AstNode::Variable(name) if name == "states" => everything(&mut needs),
            AstNode::Variable(name) | AstNode::Function { name, .. }
                if !needs.variables.iter().any(|v| **v == **name) =>
            {
                needs.variables.push(name.as_str().into());
            }
            _ => {}
        }
        walk::children(node, &mut |child| open.push(child));
    }
    needs
}

fn filter(stage: &jsonata_core::ast::Stage) -> Option<&AstNode> {
    match stage {
        jsonata_core::ast::Stage::Filter(filter) => Some(filter),
        _ => None,
    }
}

/// Whether the path is `$states.NAME…`; if so, what it reads is noted.
fn reads_states(steps: &[PathStep], needs: &mut Needs) -> bool {
    let [first, second, rest @ ..] = steps else {
        return false;
    };
    let AstNode::Variable(root) = &first.node else {
        return false;
    };
    let AstNode::Name(member) = &second.node else {
        return false;
    };
    if root != "states" || !first.stages.is_empty() {
        return false;
    }
    match member.as_str() {
        "input" => needs.input = true,
        "result" => needs.result = true,
        "errorOutput" => needs.error = true,
        "context" => {
            needs.context = true;
            let (execution_input, item) = reaches_payloads(rest);
            needs.execution_input |= execution_input;
            needs.item |= item;
        }
        _ => {}
    }
    true
}

/// Whether a path below the Context object can reach the execution's input, and a Map's item.
fn reaches_payloads(rest: &[PathStep]) -> (bool, bool) {
    let name = |i: usize| match rest.get(i).map(|s| &s.node) {
        Some(AstNode::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    match (name(0), name(1), name(2)) {
        (Some("Execution"), Some(member), _) => (member == "Input", false),
        (Some("Execution"), None, _) => (true, false),
        (Some("Map"), Some("Item"), Some(member)) => (false, member == "Value"),
        (Some("Map"), _, _) => (false, true),
        (Some("State" | "StateMachine" | "Task"), _, _) => (false, false),
        _ => (true, true),
    }
}

fn everything(needs: &mut Needs) {
    needs.input = true;
    needs.result = true;
    needs.error = true;
    needs.context = true;
    needs.execution_input = true;
    needs.item = true;
}

#[cfg(test)]
mod tests {
    use super::of;
    use jsonata_core::parser::parse;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let needs = of(&parse(source).expect("an expression"));
        let mut words = Vec::new();
        for (is, word) in [
            (needs.input, "input"),
            (needs.result, "result"),
            (needs.error, "error"),
            (needs.context, "context"),
            (needs.execution_input, "execution"),
            (needs.item, "item"),
        ] {
            if is {
                words.push(word.to_owned());
            }
        }
        let mut variables: Vec<_> = needs.variables.iter().map(|v| format!("${v}")).collect();
        variables.sort();
        words.extend(variables);
        assert_eq!(words.join(" "), expected, "{source}");
    }

    #[test]
    fn what_an_expression_reads() {
        check("1 + 1", "");
        check("$states.input", "input");
        check("$states.input.a[b = $x].c", "input $x");
        check("$sum($states.result.n)", "result $sum");
        check("$states", "input result error context execution item");
        check("$states.context.State.Name", "context");
        check("$states.context.Execution.Input.a", "context execution");
        check("$states.context.Map.Item.Value.a", "context item");
        check("$states.context.Execution.Name", "context");
        check("$states.context", "context execution item");
        check("$states.context.Map.Item.Index", "context");
        check("$x.y & $states.errorOutput.Cause", "error $x");
        check("($a := 1; $states.input.b.(c + $a))", "input $a");
        check(
            "$states[0].input",
            "input result error context execution item",
        );
        check(
            "$lookup($states, 'input')",
            "input result error context execution item $lookup",
        );
    }
}
