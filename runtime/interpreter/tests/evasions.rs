//! Ways to make the JSONata library work without being counted: each is refused on data that
//! is large for the operations it is given, and goes through on small data.

use serde_json::{Value, json};
use stepwell_flow::expression::{Expression, Jsonata, Template};
use stepwell_flow::program::DataFlow;
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::evaluate_jsonata;
use stepwell_types::Data;

/// Far more than the rounds of the loops below, far less than rounds times data.
const OPERATIONS: u64 = 100_000;

fn parse(expression: &str) -> Program {
    let flow = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
        "A": {"Type": "Pass", "Output": format!("{{%{expression}%}}"), "End": true}}});
    let checked = compile(&flow.to_string(), &AnyModule);
    let said = format!("{expression}: {:?}", checked.diagnostics);
    checked.program.expect(&said)
}

fn query(program: &Program) -> &Jsonata {
    let DataFlow::Jsonata(fields) = &program.states.first().expect("a state").data else {
        panic!("not JSONata");
    };
    match &fields.output {
        Some(Template::Expression(Expression::Jsonata(query))) => query,
        other => panic!("{other:?}"),
    }
}

/// Lists of `n` elements and a text of `16 n` characters.
fn data(n: usize) -> Data {
    let list: Vec<Value> = (0..n).map(|i| json!({"x": i % 7, "y": {"z": i}})).collect();
    let keyed: Vec<Value> = (0..n).map(|i| json!({ format!("k{i}"): 1 })).collect();
    Data::from_value(json!({
        "a": list, "b": list, "zeros": vec![0; n], "keyed": keyed,
        "o": {"a": list, "b": list}, "s": "A".repeat(16 * n), "t": "A".repeat(16 * n),
    }))
}

#[track_caller]
fn check(expression: &str) {
    let program = parse(expression);
    let run = |n: usize| evaluate_jsonata(query(&program), None, &data(n), OPERATIONS);
    let small = run(2);
    assert!(small.is_ok(), "{expression}: {small:?}");
    match run(4_000) {
        Err((error, _)) => assert_eq!(error, "Stepwell.ExpressionLimit", "{expression}"),
        Ok(value) => panic!("{expression}: not refused, but {value:?}"),
    }
}

#[test]
fn what_is_repeated_is_counted() {
    for body in [
        "$a = $b",
        "($a) = ($b)",
        "($a; $b) != $b",
        "[$a] = [$b]",
        "(true ? $a : $b) = $b",
        "$s < $t",
        "$s >= ($t)",
        "$zeros ? 1 : 0",
        "($zeros) and true",
        "false or $zeros",
        "$not($zeros)",
        "$boolean($zeros)",
        "($a.x; 1)",
        "(($a).x; 1)",
        "($a.y.none; 1)",
        "($o.a.x; 1)",
        "($a{'k': 1}; 1)",
        "(($a){x & '': 1}; 1)",
        "($zeros^($); 1)",
        "($a^(x); 1)",
        "($a[x = 5]; 1)",
        "(($a)[x]; 1)",
        "($a[[1..2]]; 1)",
        "$o.(a = b)",
        "$o.(a.x; 1)",
        "$sum($a.x)",
        "$keys($a)",
        "$a in $b",
        "$lookup($a, 'x')",
        "$string($a)",
        "$max($a.x) < 1",
        "$exists($a[none])",
        "$o[a = b]",
        "$filter($a, $boolean)",
        "$map($a, $string)",
    ] {
        check(&format!(
            "($f := function($n){{$n > 0 ? (($v := ({body}); $f($n - 1))) : 0}}; $f(300))"
        ));
    }
}

#[test]
fn what_is_at_hand_in_a_function_is_counted() {
    for body in [
        "a = b",
        "(a.x; 1)",
        "(a; 1)[none]",
        "a[x = 5]",
        "$count(a.y.z)",
    ] {
        check(&format!(
            "$o.($f := function($n){{$n > 0 ? (($v := ({body}); $f($n - 1))) : 0}}; $f(300))"
        ));
    }
}

#[test]
fn functions_that_are_worse_than_linear_are_counted() {
    for expression in [
        "$count($keys($keyed))",
        "$count($keyed.$keys($$.none ? 1 : $keyed))",
        "$count($match($s, /.*[^A-Z]|[A-Z]/))",
        "$count($split($s, /.*[^A-Z]|[A-Z]/))",
        "$length($replace($s, /.*[^A-Z]|[A-Z]/, ''))",
        "($r := /.*[^A-Z]|[A-Z]/; $count($match($s, $r)))",
        "$count($match($s, /(A.*b)?A/))",
        "$count($filter($a.(''), /x/))",
    ] {
        check(expression);
    }
}
