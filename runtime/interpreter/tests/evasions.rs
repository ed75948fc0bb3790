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
        "$string([$a])",
        "$length('' & $a)",
        "$count([$a, $b])",
        "$string(function(){$a}())",
        "$a ~> $string()",
        "$a ~> $map(function($x){1})[0]",
        "(($a ~> |$|{'w': 1}|); 1)",
        "($t := |$|{'w': 1}|; $t($a); 1)",
        "($j := $join; $j($map($a, function($x){'k'}), $s))",
        "($g := $string; $g($a))",
        "($g := $string; $a ~> $g)",
        "($g := $trim ~> $uppercase; $g($s))",
        "($k := $keys; $k($keyed))",
        "[$uppercase][0]($s)",
        "($p := $contains(?, 'b'); $p($s))",
        "($p := $replace(?, 'b', 'c'); $p($s))",
        "$s ~> $contains(?, 'b')",
        "($r := /b/; $r($s))",
        "$s ~> /b/",
        "($r := /A/; $m := $r($s); $m.next(); 1)",
        "($r := /b/; $contains($s, $r))",
        "($c := $contains; $c($s, /b/))",
        "$contains($s, /b/)",
        "$reduce([$trim, $trim], $map, [$s])",
        "($a#$i; 1)",
        "($a.none@$x; 1)",
        "($a@$x.y; 1)",
        "($a.none^(x); 1)",
        "($a.none{'k': 1}; 1)",
    ] {
        check(&format!(
            "($f := function($n){{$n > 0 ? (($v := ({body}); $f($n - 1))) : 0}}; $f(300))"
        ));
    }
}

#[test]
fn what_is_held_many_times_is_counted() {
    for expression in [
        "$count($a@$v.$b@$w)",
        "$count($o.a@$v.$o.a@$w)",
        "$count($a ~> |$|{'w': 1}|)",
        "$o@$v.$zeros@$w.{'v': $v}",
        "$count($o.a@$v.a@$w)",
        "$count($o.a@$v.a)",
        "$count($a#$i.$b#$k)",
        "$count($a.($b))",
        "$count($a.$b)",
        "$count($a.($o).a)",
        "$count($a.$o.a)",
        "$count($map($a, function($x){$o}).a)",
        "$count(($m := $map($a, function($x){$o}); $m.a))",
        "$count($map($a, function($x){$b}).x)",
        "$count($map($a, function($x){$o})[a.x])",
        "$length('' & $reduce([1..$min([12, $count($a)])], function($p, $q){[$p, $p]}, $s))",
        "$count($lookup($map($a, function($x){$o}), 'a'))",
    ] {
        check(expression);
    }
}

#[test]
fn what_is_printed_in_lines_is_counted() {
    // As deep as it is long.
    let deep = "$reduce($zeros[[0..$min([$count($zeros), 900])]], function($d, $z){[$d, $z]})";
    check(&format!(
        "($d := {deep}; $f := function($n){{$n > 0 ? (($v := $string($d, true); $f($n - 1))) : 0}}; $f(9))"
    ));
}

#[test]
fn names_of_functions_may_be_variables() {
    let same = |expression: &str, expected: Value| {
        let program = parse(expression);
        let bindings = json!({"join": 1, "pad": {"x": 2}, "keys": [{"x": 3}], "distinct": 4});
        let found = evaluate_jsonata(
            query(&program),
            None,
            &Data::from_value(bindings),
            OPERATIONS,
        );
        assert_eq!(found, Ok(Some(expected)), "{expression}");
    };
    same("$join + 1", json!(2));
    same("$pad.x", json!(2));
    same("$keys.x", json!(3));
    same("$keys[0].x", json!(3));
    same("[$join, $distinct]", json!([1, 4]));
    same("($replace := 5; $replace)", json!(5));
    same(
        "($replace := function($x){$x & '!'}; $replace('a'))",
        json!("a!"),
    );
    same(
        "($string := function($x){'own'}; $map([1, 2], $string))",
        json!(["own", "own"]),
    );
    same("$map([1, 2], function($pad){$pad * 2})", json!([2, 4]));
    same("function($string){$string(5)}($string)", json!("5"));
    same("function($match){$match[0]}([7])", json!(7));
    let program = parse("$join(['a'])");
    let bindings = Data::from_value(json!({"join": 1}));
    let refused = evaluate_jsonata(query(&program), None, &bindings, OPERATIONS);
    assert_eq!(refused.map_err(|(code, _)| code), Err("T1006".to_owned()));
}

#[test]
fn functions_as_values_are_what_they_were() {
    let same = |expression: &str, expected: Value| {
        let program = parse(expression);
        let none = Data::from_value(json!({}));
        let found = evaluate_jsonata(query(&program), None, &none, OPERATIONS);
        assert_eq!(found, Ok(Some(expected)), "{expression}");
    };
    same("$map([1, 2], $string)", json!(["1", "2"]));
    same("($j := $join; $j(['a', 'b'], '-'))", json!("a-b"));
    same("($j := $join; $j(['a', 'b']))", json!("ab"));
    same("['a', 'b'] ~> $join", json!("ab"));
    same("($u := $uppercase; {'n': 'x'}.n.$u())", json!("X"));
    same("($p := $join(?, '+'); $p(['a', 'b']))", json!("a+b"));
    same("($f := $trim ~> $uppercase; $f(' a '))", json!("A"));
    same("$reduce([[1], [2], [3]], $append)", json!([1, 2, 3]));
    same("$filter(['ab', 'c'], /a/)", json!("ab"));
    same("[$filter(['ab', 'c'], /a/)]", json!(["ab"]));
    same("($r := /b+/; $r('abbb').match)", json!("bbb"));
    same(
        "($m := /b/('abab'); [$m.start, $m.next().start, $m.next().next().start])",
        json!([1, 3]),
    );
    same("($r := /b/; $replace('abab', $r, 'x'))", json!("axax"));
    same("$split('a1b2', /[0-9]/)", json!(["a", "b", ""]));
    same("'a-b' ~> $split('-')", json!(["a", "b"]));
    same("'abc' ~> $contains(/b/)", json!(true));
    same("$sort(['b', 'a'], $contains) ~> $count()", json!(2));
    same("[1..3] ~> $map(function($x){$x * 2})[1]", json!(4));
    let own = "$own := function($a, $b){[$a, $b, 'c']}";
    same(
        &format!("({own}; $f := function($i){{'a' ~> $own('b')[$i - 1]}}; [$f(1), $f(3)])"),
        json!(["a", "c"]),
    );
    same("{'a': 1} ~> |$|{'b': 2}|", json!({"a": 1, "b": 2}));
    same(
        "($t := |$|{'b': 2}|; $t({'a': 1}))",
        json!({"a": 1, "b": 2}),
    );
    same(
        "$replace('ab', /b/, function($m){$hash($m.match, 'MD5')})",
        json!("a92eb5ffee6ae2fec3ad71c777531578f"),
    );
    same("$type($string)", json!("function"));
    same("$exists($keys)", json!(true));
    same(
        "($l := [1, 2]; $m := [3, 4]; $l@$x.$m@$y.{'x': $x, 'y': $y})",
        json!([
        {"x": 1, "y": 3}, {"x": 1, "y": 4}, {"x": 2, "y": 3}, {"x": 2, "y": 4}]),
    );
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
