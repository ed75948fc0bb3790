//! Tables: what is written, and what it compiles to.

use serde_json::json;

use super::{parse, parse_write};
use crate::expression::{Query, Root, Segment, WritePath};

fn definite(source: &str) -> String {
    let path = match parse(source) {
        Ok(path) => path,
        Err(fault) => return format!("{} {}", fault.code, fault.message),
    };
    let root = match &path.root {
        Root::Context => "$$",
        Root::Data => "$",
        Root::Variable(name) => &format!("${name}"),
    };
    match path.query {
        Query::Whole => root.to_owned(),
        Query::Definite(segments) => segments.iter().fold(root.to_owned(), |all, s| match s {
            Segment::Name(name) => format!("{all}|{name}"),
            Segment::Index(index) => format!("{all}|#{index}"),
        }),
        Query::Indefinite(_) => "many".to_owned(),
    }
}

#[test]
fn definite_paths_become_segments() {
    let check = |source: &str, expected: &str| assert_eq!(definite(source), expected, "{source}");
    check("$", "$");
    check("$$", "$$");
    check("$name", "$name");
    check("$_a1.b[0]", "$_a1|b|#0");
    check("$größe['x']", "$größe|x");
    check("$.a", "$|a");
    check("$.a.b[0].c", "$|a|b|#0|c");
    check("$['a']['b c']", "$|a|b c");
    check("$[\"a\"]", "$|a");
    check("$[ 'a' ]", "$|a");
    check("$.[0]", "$|#0");
    check("$[-1]", "$|#-1");
    check("$.detail-type", "$|detail-type");
    check("$.@timestamp", "$|@timestamp");
    check("$.aws:source", "$|aws:source");
    check(
        "$$.Execution.Input.input-value",
        "$$|Execution|Input|input-value",
    );
    check("$.store\\.book", "$|store.book");
    check("$.\\stor\\e.boo\\k", "$|store|book");
    check("$.foo\\@bar.baz\\[\\[.\\?pretty", "$|foo@bar|baz[[|?pretty");
    check("$.&Ж中.\\uD800\\uDF46", "$|&Ж中|\u{10346}");
    check("$['Test\\\"\"Name\"']", "$|Test\\\"\"Name\"");
    check("$['it\\'s']", "$|it's");
    check("$['\\u0041\\n']", "$|A\n");
    check("$[(@.length-1)].bar", "$|#-1|bar");
    check("$..a", "many");
    check("$.a[*]", "many");
    check("$.a.*", "many");
    check("$['a','b']", "many");
    check("$[1:]", "many");
}

#[test]
fn bad_paths_say_why() {
    let check = |source: &str, expected: &str| {
        let got = definite(source);
        assert!(got.contains(expected), "{source}: {got}");
    };
    check("", "FLOW0016 a path begins with $");
    check("a.b", "begins with $");
    check("$.", "cannot end with a dot");
    check("$..", "cannot end with a dot");
    check("$.a b", "makes no sense");
    check("$[", "not closed");
    check("$[]", "empty brackets");
    check("$[a]", "in quotes");
    check("$['a", "not closed");
    check("$.a.length()", "functions such as length()");
    check("$[99999999999999999999]", "not an index");
    check("$[1-2]", "not an index");
    check("$[?(@.a =~ /x/)]", "=~");
    check("$[?(@.a", "not closed");
    check("$[?(@.a in ['x'])]", "operator in");
    check("$[(@.length+1)]", "script");
    check("$.\\uD800", "surrogates");
    check("$\u{0}", "makes no sense");
    check(
        &format!("$[?{}@.a{}]", "(".repeat(20), ")".repeat(20)),
        "deeper",
    );
    check(&format!("${}", "..a".repeat(9000)), "at most");
}

#[test]
fn indefinite_paths_mean_what_jayway_users_meant() {
    let data = json!({
        "items": [{"a-b": 1, "t": "x"}, {"a-b": 2, "t": "y"}, {"a-b": 3}],
        "deep": {"er": [10, 20, 30]}
    });
    let check = |source: &str, expected: serde_json::Value| {
        let path = parse(source).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        let Query::Indefinite(found) = path.query else {
            panic!("{source} is definite")
        };
        let got: Vec<_> = found
            .query
            .query(&data)
            .all()
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(serde_json::Value::Array(got), expected, "{source}");
    };
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
}

#[test]
fn only_single_places_are_written_to() {
    let check = |source: &str, expected: &str| {
        let got = match parse_write(source) {
            Ok(WritePath::Replace) => "replace".to_owned(),
            Ok(WritePath::Discard) => "discard".to_owned(),
            Ok(WritePath::At(segments)) => format!("{} segments", segments.len()),
            Err(fault) => fault.code.to_owned(),
        };
        assert_eq!(got, expected, "{source}");
    };
    check("$", "replace");
    check("$.a[0].b", "3 segments");
    check("$.a[*]", "FLOW0017");
    check("$.a[-1]", "FLOW0017");
    check("$$.a", "FLOW0017");
    check("a", "FLOW0016");
}
