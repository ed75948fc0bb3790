//! Tables: what is written, and what it compiles to.

use super::{Fault, Patterns};
use crate::expression::{DataPath, Query, Root, Segment, WritePath};

fn parse(source: &str) -> Result<DataPath, Fault> {
    super::parse(source, &Patterns::default())
}

fn parse_write(source: &str) -> Result<WritePath, Fault> {
    super::parse_write(source, &Patterns::default())
}

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
        Query::Called(called) => format!("{:?}", called.function.kind),
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
    check("$.a.length()", "Length");
    check("$.a.append('x', $.b[*], 1)", "Append");
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
    check("$.a.lenght()", "no function lenght()");
    check("$.a.length(", "not closed");
    check("$.a.length().b", "makes no sense");
    check("$.a.index('x')", "takes a whole number");
    check("$.a.keys(1)", "does not take 1 arguments");
    check("$[99999999999999999999]", "not an index");
    check("$[1-2]", "not an index");
    check("$[-9223372036854775808]", "not an index");
    check("$[:-9223372036854775808]", "not an index");
    check("$[?(@.a", "not closed");
    check("$[?(@.a =~ 'x')]", "between slashes");
    check("$[?(@.a =~ /x)]", "between slashes");
    check("$[?(@.a =~ /x/q)]", "no flag 'q'");
    check("$[?(@.a =~ /(?=x)/)]", "look-around");
    check("$[?(@.a =~ /\\w{1000}/)]", "bytes when compiled");
    check("$[?(=~ /x/)]", "needs a path before it");
    check("$[?(@.a =~ /a)|(b/i)]", "unopened group");
    check("$[?(@.a =~ /\\p{None}/)]", "cannot be read");
    check("$[?(@.a =~ /\\w{1000}/i)]", "\"\\\\w{1000}\" takes more");
    check(
        "$[?match(@.a, '\\\\w{1000}')]",
        "\"\\\\w{1000}\" takes more",
    );
    check("$[?(@.a in 'x')]", "operator in needs a list");
    check("$[?(@.a in ['x')]", "not closed");
    check("$[?(@.a in ['x' 'y'])]", "list in a filter is not closed");
    check("$[?(@.a in ['x',])]", "needs a value");
    check("$[?('a' size 1)]", "size needs a path before it");
    check("$[?(@.a empty 1)]", "true or false");
    check("$[?(@.a == @.b[*])]", "may find several values");
    check("$[?(@.a == match(@.b, 'x'))]", "is not compared");
    check("$[?(1)]", "a filter compares values");
    check("$[?(@.a upto 1)]", "where an operator or ) should come");
    check("$[(@.length+1)]", "script");
    check("$.\\uD800", "surrogates");
    check("$\u{0}", "makes no sense");
    check(
        &format!("$[?{}@.a{}]", "(".repeat(20), ")".repeat(20)),
        "deeper",
    );
    check(&format!("${}", "..a".repeat(9000)), "at most");
}

/// A list in a filter is read no further than a path may go.
#[test]
fn long_paths_are_refused_whatever_they_hold() {
    let list = vec!["1"; 100_000].join(",");
    for text in [
        format!("$[?(@.{} in [{list}])]", "n".repeat(200_000)),
        format!("$[?(@.n in [{list}])]"),
        format!("$[{list}]"),
        format!("$.a.append({list})"),
    ] {
        assert!(definite(&text).contains("longer than 8192 bytes"));
        let call = format!("States.Array({text})");
        let fault = crate::intrinsic::parse(&call, &Patterns::default());
        let fault = fault.expect_err("too long");
        assert!(
            fault.message.contains("longer than 8192 bytes"),
            "{fault:?}"
        );
    }
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
