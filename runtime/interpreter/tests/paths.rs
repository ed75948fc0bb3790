//! What paths select: RFC 9535 by its own suite, and what the Jayway library means besides.

use std::fmt::Write as _;

use expect_test::expect_file;
use serde_json::{Value, json};
use stepwell_flow::expression::Query;
use stepwell_flow::program::DataFlow;
use stepwell_flow::{AnyModule, Checked, compile};

#[path = "alone/walked.rs"]
mod alone;

use alone::walked;

fn compiled(path: &Value) -> Checked {
    let flow = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "InputPath": path, "End": true}}});
    compile(&flow.to_string(), &AnyModule)
}

fn query(checked: &Checked) -> Option<&Query> {
    match &checked.program.as_ref()?.states.first()?.data {
        DataFlow::JsonPath(fields) => fields.input_path.as_ref().map(|path| &path.query),
        DataFlow::Jsonata(_) | DataFlow::CloudFlow(_) => None,
    }
}

/// What an `InputPath` makes of a document; the cause, where it fails.
fn evaluate(checked: &Checked, document: &Value) -> Result<Value, String> {
    let program = checked
        .program
        .as_ref()
        .ok_or_else(|| format!("{:?}", checked.diagnostics))?;
    walked(program, document.clone()).map_err(|failure| failure.cause.to_string())
}

#[track_caller]
fn check(path: &str, document: &Value, expected: &Value) {
    let got = evaluate(&compiled(&path.into()), document);
    assert_eq!(got, Ok(expected.clone()), "{path}");
}

#[track_caller]
fn check_fails(path: &str, document: &Value, expected: &str) {
    match evaluate(&compiled(&path.into()), document) {
        Err(why) if why.contains(expected) => {}
        other => panic!("{path}: {other:?}"),
    }
}

/// As RFC 9535 has it: a list in any case.
fn list(checked: &Checked, document: &Value) -> Value {
    let definite = matches!(query(checked), Some(Query::Whole | Query::Definite(_)));
    match evaluate(checked, document) {
        Ok(value) if definite => json!([value]),
        Ok(value) => value,
        Err(why) if definite && why.contains("Invalid path") => json!([]),
        Err(why) => json!(why),
    }
}

/// The compliance suite of RFC 9535: every valid selector means here what it means there.
/// Invalid ones are refused, or are Jayway's spelling, which Step Functions takes.
#[test]
fn jsonpath_suite() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/suites/jsonpath/cts.json"
    );
    let suite: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (mut same, mut other, mut refused, mut cannot, mut merged) = (0, Vec::new(), 0, 0, 0);
    let mut lenient = String::new();
    for case in suite["tests"].as_array().unwrap() {
        let selector = &case["selector"];
        let checked = compiled(selector);
        if case["invalid_selector"] == true {
            if checked.program.is_none() {
                refused += 1;
            } else {
                writeln!(lenient, "{}: {selector}", case["name"].as_str().unwrap()).unwrap();
            }
            continue;
        }
        if matches!(query(&checked), Some(Query::Indefinite(path)) if path.merge.is_some()) {
            println!("MERGED {selector}: Jayway's library makes an object of names at the end");
            merged += 1;
            continue;
        }
        let said = format!("{:?}", checked.diagnostics);
        let from_data = said.contains("must be a string in the path itself");
        if from_data && selector.as_str().is_some_and(|s| s.contains("regex")) {
            println!("CANNOT {selector}: a pattern from the data could cost any amount of time");
            cannot += 1;
            continue;
        }
        let got = list(&checked, &case["document"]);
        let results = case.get("results").and_then(Value::as_array);
        if got == case["result"] || results.is_some_and(|all| all.contains(&got)) {
            same += 1;
        } else {
            other.push(format!("{selector} {}: {got}", case["name"]));
        }
    }
    print!("LENIENT, each as Jayway's library reads it:\n{lenient}");
    println!(
        "same {same}, cannot {cannot}, merged {merged}, other {}, invalid and refused {refused}",
        other.len()
    );
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert!(same >= 443, "the corpus shrank: {same}");
    assert_eq!(merged, 9, "names at the end");
    expect_file!["lenient.expected"].assert_eq(&lenient);
}

#[test]
fn indefinite_paths_mean_what_jayway_users_meant() {
    let data = json!({
        "items": [{"a-b": 1, "t": "x"}, {"a-b": 2, "t": "y"}, {"a-b": 3}],
        "deep": {"er": [10, 20, 30]}
    });
    let check = |path: &str, expected: Value| check(path, &data, &expected);
    check("$.items[*].a-b", json!([1, 2, 3]));
    check("$.items[?(@.a-b > 1)].a-b", json!([2, 3]));
    check("$.items[?(@.t == 'x')].a-b", json!([1]));
    check("$.items[?(@.t == x)].a-b", json!([1]));
    check("$.items[?(@.t)].t", json!(["x", "y"]));
    check(
        "$.items[?(@['t'] === \"y\" || @.a-b==3)].a-b",
        json!([2, 3]),
    );
    check("$.items[?(!@.t)].a-b", json!([3]));
    check("$.items[?(@.a-b < $.items[1].a-b)].a-b", json!([1]));
    check("$.deep.er[1:]", json!([20, 30]));
    check("$.deep.er[:1]", json!([10]));
    check("$.deep.er[0,2]", json!([10, 30]));
    check("$.deep.er[-2:]", json!([20, 30]));
    check("$..er[0]", json!([10]));
    check("$..['er'][0]", json!([10]));
    check("$.deep..[*]", json!([[10, 20, 30], 10, 20, 30]));
    check("$.deep..*", json!([[10, 20, 30], 10, 20, 30]));
    check("$.items[?(@.none == null)]", json!([]));
    check("$.items[0,1]['t']", json!(["x", "y"]));
}

/// Operators of Jayway's filters that RFC 9535 has not.
#[test]
fn operators_of_filters() {
    let data = json!([
        {"n": 0, "s": "Blue-1", "tags": ["a", "b"]},
        {"n": 1, "s": "blue", "tags": []},
        {"n": 2, "s": "", "tags": ["c", 7]},
        {"n": 3, "tags": {"x": "a"}},
        {"n": 4, "s": "it's\n", "tags": "abc"},
    ]);
    let check = |filter: &str, expected: &[u64]| {
        check(&format!("$[?({filter})].n"), &data, &json!(expected));
    };
    check("@.s =~ /blue/", &[1]);
    check("@.s=~/blue/i", &[1]);
    check("@.s =~ /BLUE.*/i && @.n < 1", &[0]);
    check("@.s =~ /[a-zA-Z]+-\\d/", &[0]);
    check("!(@.s =~ /.+/)", &[2, 3, 4]);
    check("@.s =~ /.+/s", &[0, 1, 4]);
    check("@.s =~ /b l\nu e # colour/xu", &[1]);
    check("@.s =~ /(?x) b l u e # colour/", &[1]);
    check("@.s =~ /none|(?x) b l u e # colour/", &[1]);
    check("match(@.s, '(?x) b l u e # colour')", &[1]);
    check("search(@.s, '(?x) l u # colour')", &[0, 1]);
    // What is no pattern by itself matches nothing, whatever is put around it.
    check("match(@.s, 'a)|(?:.*')", &[]);
    check("search(@.s, 'a)|(.*')", &[]);
    check("@.s =~ /a\\/b|blue/", &[1]);
    check("@.n =~ /[12]/", &[1, 2]);
    check("@.none =~ /.*/ && @.n > 2", &[3, 4]);
    check("@.n in [1, 3]", &[1, 3]);
    check("@.n in ['1', 3]", &[1, 3]);
    check("@.s IN ['blue', \"\", x]", &[1, 2]);
    check("@.s in [\"it's\\n\"]", &[4]);
    check("@.n in []", &[]);
    check("@.n nin [1,3] && @.n > 0", &[2, 4]);
    check("@.s nin ['blue']", &[0, 2, 3, 4]);
    check("!(@.n in [1,3])", &[0, 2, 4]);
    check("'c' in @.tags", &[2]);
    check("'7' in @.tags", &[2]);
    check("$[0].tags[1] in @.tags", &[0]);
    check("@.n in $[2].tags", &[]);
    check("@.s in $[*].s", &[0, 1, 2, 4]);
    check("'c' nin @.tags", &[0, 1, 3, 4]);
    check("@.tags anyof ['b', 'c']", &[0, 2]);
    check("@.tags anyof $[0].tags", &[0]);
    check("@.tags noneof ['b', 'd']", &[1, 2]);
    check("@.tags subsetof ['a', 'b', 'e']", &[0, 1]);
    check("@.tags all ['a']", &[0]);
    check("@.tags contains 'a'", &[0, 4]);
    check("@.tags contains 7", &[2]);
    check("@.s contains '-'", &[0]);
    check("@.s contains '.'", &[]);
    check("@.tags contains $[0].tags[1]", &[0, 4]);
    check("@.tags size 2", &[0, 2]);
    check("@.s size 4", &[1]);
    check("@.tags size @.n", &[2]);
    check("@.tags empty true", &[1]);
    check("@.s empty false", &[0, 1, 4]);
    check("@.s == in", &[]);
    check("@.tags.length() > 1", &[0, 2]);
    check("@.tags.first() == 'c'", &[2]);
}

/// A filter in parentheses asks an object itself; one without asks its members.
#[test]
fn filters_of_objects_and_after_filters() {
    let data = json!({
        "o": {"x": 1, "k": {"x": 1}},
        "l": [{"p": 5, "t": true}, {"p": 15, "t": true}, {"p": 20}],
    });
    let check = |path: &str, expected: Value| check(path, &data, &expected);
    check("$.l[?(@.p>=10)][?(@.t==true)].p", json!([15]));
    check("$.o[?(@.x==1)]", json!([data["o"]]));
    check("$.o[?(@.x==1)].k", json!([{"x": 1}]));
    check("$.o[?(@.x==2)]", json!([]));
    check("$.o[?@.x==1]", json!([{"x": 1}]));
    check("$[?(@.o)].o.x", json!([1]));
    check("$..[?(@.x==1)]", json!([data["o"], {"x": 1}]));
    check("$..[?(@.o)].o.x", json!([1]));
    check("$..[?(@.p>5)].p", json!([15, 20]));
    check("$..l[?(@.p>5)].p", json!([15, 20]));
    // Parentheses at both its ends do not enclose it: it asks what RFC 9535 alone knows.
    let data = json!({"o": {"k": {"x": 1, "y": "z"}, "x": 1, "y": "z"}});
    let check = |filter: &str| {
        let expected = json!([data["o"]["k"]]);
        crate::check(&format!("$.o[?{filter}]"), &data, &expected);
    };
    check("match(@.y,'z') && (@.x==1)");
    check("(@.x==1) && match(@.y,'z')");
    check("(@.x==1) && search(@.y,'z')");
    check("(@.x==1) && (length(@.y)==1)");
    check("(@.x==1) && (@.x==count(@.y))");
    check("(@.x==1) && !(value(@.y)=='a')");
    // Of a filter within its path it is no matter.
    let outer = "$.o[?(@.x==1 && @.k[?length(@)==1])].x";
    crate::check(outer, &data, &json!([1]));
}

#[test]
fn numbers_and_numerals_in_filters() {
    let data = json!([
        {"p": 5, "s": "5"}, {"p": 15, "s": "15.0"}, {"p": 2.5, "s": "x"}, {"p": true}
    ]);
    let check = |filter: &str, expected: Value| {
        check(&format!("$[?({filter})].p"), &data, &expected);
    };
    check("@.p == '5'", json!([5]));
    check("@.p == '15.0'", json!([15]));
    check("@.p == '2.50'", json!([2.5]));
    check("@.s == 5", json!([5]));
    // A text on the left is compared as a text.
    check("@.s == 15", json!([]));
    check("@.p == @.s", json!([5, 15]));
    check("@.p != '5'", json!([15, 2.5, true]));
    check("@.p === '5'", json!([]));
    check("@.p !== '5'", json!([5, 15, 2.5, true]));
    check("@.p == 'true'", json!([]));
    check("@.p < '9'", json!([]));
    check("@.y == @.z", json!([]));
    check("@.y != @.z", json!([5, 15, 2.5, true]));
    check("@.p <= true", json!([]));
    // Without parentheses RFC 9535 decides.
    let path = |filter: &str| compiled(&format!("$[?{filter}].p").into());
    assert_eq!(evaluate(&path("@.p == '5'"), &data), Ok(json!([])));
    assert_eq!(
        evaluate(&path("@.y == @.z"), &data),
        Ok(json!([5, 15, 2.5, true]))
    );
}

#[test]
fn functions_at_the_end() {
    let data = json!({
        "l": [{"p": 5, "q": 1}, {"p": 15}], "n": [1, 2, 3, 4, "x"], "t": ["a", "b", 1], "s": "text",
        "e": [],
    });
    let check = |path: &str, expected: Value| check(path, &data, &expected);
    check("$.l.length()", json!(2));
    check("$.length()", json!(5));
    check("$.l.size()", json!(2));
    check("$.l[0].length()", json!(2));
    check("$.s.length()", json!(null));
    check("$.length($.l)", json!(2));
    // Of each that a path finds, unless it begins with `..`.
    check("$.l[*].length()", json!([2, 1]));
    check("$..l.length()", json!(2));
    check("$.n.sum()", json!(10.0));
    check("$.n.min()", json!(1.0));
    check("$.n.max()", json!(4.0));
    check("$.n.avg()", json!(2.5));
    check("$.n.stddev()", json!(1.25f64.sqrt()));
    check("$.n.stddev(@.l[0].p)", json!(2f64.sqrt()));
    check("$..p.sum()", json!(20.0));
    check("$.sum($.l[*].p, 2)", json!(22.0));
    check("$.n.sum($.l[0].p)", json!(15.0));
    check("$.t.concat()", json!("ab"));
    check("$.concat($.s, '-', $.t)", json!("text-ab"));
    check("$.l[0].keys()", json!(["p", "q"]));
    check("$.e.append(7, $.s)", json!([7, "text"]));
    check("$.n.first()", json!(1));
    check("$.n.last()", json!("x"));
    check("$.n.index(-2)", json!(4));
    check_fails("$.none.length()", &data, "No results for path: $['none']");
    check_fails("$.e.sum()", &data, "using empty array");
    check_fails("$.n.index(9)", &data, "Target index:9 larger");
    // Squares, and the square of a sum, that are out of range.
    let large = json!([[1e200, 5e200], [9e153, 9e153]]);
    check_fails("$[0].stddev()", &large, "the result is no number");
    check_fails("$[1].stddev()", &large, "the result is no number");
}
