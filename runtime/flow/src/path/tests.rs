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
    check("$[?(@.a", "not closed");
    check("$[?(@.a =~ 'x')]", "between slashes");
    check("$[?(@.a =~ /x)]", "between slashes");
    check("$[?(@.a =~ /x/q)]", "no flag 'q'");
    check("$[?(@.a =~ /(?=x)/)]", "look-around");
    check("$[?(@.a =~ /\\w{1000}/)]", "bytes when compiled");
    check("$[?(=~ /x/)]", "needs a path before it");
    check("$[?(@.a in $.list)]", "operator in needs a list");
    check("$[?(@.a in 'x')]", "operator in needs a list");
    check("$[?(@.a in ['x')]", "not closed");
    check("$[?(@.a in ['x' 'y'])]", "list in a filter is not closed");
    check("$[?(@.a in ['x',])]", "needs a value");
    check("$[?('a' size 1)]", "size needs a path before it");
    check("$[?(@.a contains @.b)]", "contains needs a value");
    check("$[?(@.a empty 1)]", "true or false");
    check("$[?(@[?(@.b)] size 1)]", "no path with a filter");
    let list = vec!["1"; 400].join(",");
    let long = format!("$[?(@.{} in [{list}])]", "n".repeat(400));
    check(&long, "too long a list");
    check("$[?(@.a upto 1)]", "cannot be read");
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
    check("$.items[0,1]['t']", json!(["x", "y"]));
}

/// Operators of Jayway's filters that RFC 9535 has not, as its library evaluates them.
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
        let source = format!("$[?({filter})].n");
        let path = parse(&source).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        let Query::Indefinite(found) = path.query else {
            panic!("{source} is definite")
        };
        let got = found.query.query(&data).all();
        let got: Vec<_> = got.into_iter().filter_map(|v| v.as_u64()).collect();
        assert_eq!(got, expected, "{source}");
    };
    check("@.s =~ /blue/", &[1]);
    check("@.s=~/blue/i", &[1]);
    check("@.s =~ /BLUE.*/i && @.n < 1", &[0]);
    check("@.s =~ /[a-zA-Z]+-\\d/", &[0]);
    check("!(@.s =~ /.+/)", &[2, 3, 4]);
    check("@.s =~ /.+/s", &[0, 1, 4]);
    check("@.s =~ /b l\nu e # colour/xu", &[1]);
    check("@.s =~ /a\\/b|blue/", &[1]);
    check("@.n in [1, 3]", &[1, 3]);
    check("@.s IN ['blue', \"\", x]", &[1, 2]);
    check("@.s in [\"it's\\n\"]", &[4]);
    check("@.n in []", &[]);
    check("@.n nin [1,3] && @.n > 0", &[2, 4]);
    check("@.s nin ['blue']", &[0, 2, 3, 4]);
    check("!(@.n in [1,3])", &[0, 2, 4]);
    check("'c' in @.tags", &[2]);
    check("$[0].tags[1] in @.tags", &[0]);
    check("'c' nin @.tags", &[0, 1, 3, 4]);
    check("@.tags anyof ['b', 'c']", &[0, 2]);
    check("@.tags noneof ['b', 'd']", &[1, 2]);
    check("@.tags subsetof ['a', 'b', 'e']", &[0, 1]);
    check("@.tags contains 'a'", &[0, 4]);
    check("@.tags contains 7", &[2]);
    check("@.s contains '-'", &[0]);
    check("@.s contains '.'", &[]);
    check("@.tags size 2", &[0, 2]);
    check("@.s size 4", &[1]);
    check("@.tags size @.n", &[2]);
    check("@.tags empty true", &[1]);
    check("@.s empty false", &[0, 1, 4]);
    check("@.s == in", &[]);
}

#[test]
fn names_at_the_end_make_an_object() {
    let check = |source: &str, names: &[&str], place: Option<&str>| {
        let path = parse(source).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        let Query::Indefinite(found) = path.query else {
            panic!("{source} is definite")
        };
        let got = found.merge.map(|merge| {
            let names: Vec<_> = merge.names.iter().map(ToString::to_string).collect();
            (names, merge.place.map(|p| p.len().to_string()))
        });
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let expected = (!names.is_empty()).then(|| (names, place.map(str::to_owned)));
        assert_eq!(got, expected, "{source}");
    };
    check("$['a','b']", &["a", "b"], Some("0"));
    check("$.x[0]['a' , \"it's\"]", &["a", "it's"], Some("2"));
    check("$.x[*]['a','b']", &["a", "b"], None);
    check("$['a','b'].c", &[], None);
    check("$..['a','b']", &[], None);
    check("$['a',0]", &[], None);
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
