//! Bounds that grow with the form of a path and with its data.

use serde_json::{Value, json};

use super::*;
use crate::expression::{Indefinite, Query};
use crate::path::parse;

fn compiled(path: &str) -> Indefinite {
    match parse(path).expect("a path").query {
        Query::Indefinite(found) => found,
        _ => panic!("{path} is definite"),
    }
}

#[test]
fn bounds_grow_with_the_form() {
    let data = Measure {
        nodes: 1_000,
        weight: 2_000,
        depth: 5,
        average: 4,
    };
    let check = |path: &str, expected: u64| {
        let mut tally = Tally {
            root: &Value::Null,
            measure: data,
            left: u64::MAX,
            times: 1,
        };
        let counted = steps(&compiled(path).cost.steps, &mut tally, Set::root(data));
        assert!(counted.is_some(), "{path}");
        assert_eq!(u64::MAX - tally.left, expected, "{path}");
    };
    check("$.a[*]", 1 + (1 + 1_000));
    check("$.a[*].b", 1 + (1 + 1_000) + 1_000);
    check("$..a", 4 * 1_000 + 1_000);
    check("$..a..b", (4_000 + 1_000) + (5_000 + 5_000));
    check("$..*..*", (4_000 + 2_000) + (5_000 + 10_000));
    check("$[?(@.a == 1)]", 1_001 + 1_000 + 1_000 + 1_000);
    check("$[?(@.a == @.b)]", 1_001 + 1_000 + 2_000 + 2_000);
    check("$[?(@..a)]", 1_001 + 1_000 + 4_000 + 1_000);
    check(
        "$[?(@.a[?(@.b)])]",
        1_001 + 1_000 + 1_000 + 2_000 + 1_000 + 1_000,
    );
    check("$[?($.a[*])]", 1_001 + 1_000 + 1_000 * 1_002);
    check("$['a','b'][*]", 2 + 2 + 2 * 1_000);
    check(
        "$[?match(@.a, 'x')]",
        1_001 + 1_000 + 1_000 + 1_000 * 20 + 2_000,
    );
    check("$[?length(@.a) > 1]", 1_001 + 1_000 + 1_000 + 2_000 + 1_000);
}

#[test]
fn absolute_operands_are_weighed() {
    // Each of 5,000 items meets them anew.
    let items: Vec<Value> = (0..5_000).map(|i| json!({ "a": i })).collect();
    let text = "x".repeat(160_000);
    let tall = "y".repeat(160_000);
    let wide: Vec<u32> = (0..10_000).collect();
    let data = json!({"l": items, "s": text, "t": tall, "w": wide, "v": wide, "n": 1, "p": "a+"});
    let measure = Measure::of(&data);
    let check = |path: &str, costly: bool| {
        let limit = 250_000 + 2 * data.to_string().len() as u64;
        let bound = compiled(path).cost.bound(&data, measure, limit);
        assert_eq!(bound.is_none(), costly, "{path}: {bound:?}");
    };
    check("$.l[?($.s == $.t)]", true);
    check("$.l[?($.w == $.v)]", true);
    check("$.l[?($.w != $['v'])]", true);
    check("$.l[?($.s < $.t)]", true);
    check("$.l[?length($.s) > 3]", true);
    check("$.l[?match($.s, 'x+')]", true);
    check("$.l[?search($.s, 'y')]", true);
    check("$.l[?search(value($..s), 'y')]", true);
    check("$.l[?value($..s) == value($..t)]", true);
    check("$.l[?count($..*) > 1]", true);
    check("$.l[?($.w[*])]", true);
    check("$.l[?($.w[?(@ == 1)])]", true);
    check("$.l[?(@.a == $.n)]", false);
    check("$.l[?(@.a == $.s)]", false);
    check("$.l[?($.n == $.s)]", false);
    check("$.l[?(@.a == $.none || @.a > 5 && @.a != 'x')]", false);
    check("$.l[?length($.w) > 3]", false);
    check("$.l[?(@.a == length($.w))]", false);
    check("$.l[?(@.a[?(@.x == @.y)])]", false);
    check("$.l[?($.s[0] == $.t)]", false);
    check("$..a", false);
    check(&format!("$.l[?(@.a == '{}')]", "x".repeat(8_000)), true);
}

#[test]
fn measures_count_every_value() {
    let value = json!({"a": [1, {"b": 2}], "c": "x"});
    let expected = Measure {
        nodes: 6,
        weight: 6,
        depth: 4,
        average: 3,
    };
    assert_eq!(Measure::of(&value), expected);
    let long = json!(["x".repeat(160), {"y".repeat(32): 1}]);
    assert_eq!(Measure::of(&long).weight, 1 + 11 + 3 + 1);
}

#[test]
fn patterns_are_bounded() {
    for (path, ok) in [
        ("$[?match(@.a, 'x')]", true),
        ("$[?search(@['a,'], \"x{5}\")]", true),
        ("$[?match(@.a, $.pattern)]", false),
        ("$[?match(@.a, 'a{1000}{1000}')]", false),
    ] {
        assert_eq!(parse(path).is_ok(), ok, "{path}");
    }
}
