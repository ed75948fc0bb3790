//! Expressions beside how they are understood, and the faulty beside what is said of them.

use super::{Roots, parse};
use crate::fdl::{Fdl, Root};
use crate::path::Patterns;

const ROOTS: Roots = Roots {
    here: &[
        ("", Root::Input),
        ("Input", Root::Input),
        ("Context", Root::Context),
    ],
    elsewhere: &[("Output", "OutputConstructor")],
};

fn show(e: &Fdl) -> String {
    let all = |list: &[Fdl]| list.iter().map(show).collect::<Vec<_>>().join("; ");
    match e {
        Fdl::Literal(v) => v.to_string(),
        Fdl::List(items) => format!("[{}]", all(items)),
        Fdl::Path(p) => p.source.to_string(),
        Fdl::Field(name, e) => format!("{{{name}: {}}}", show(e)),
        Fdl::First(e, most) => format!("{}[:{most}]", show(e)),
        Fdl::Not(e) => format!("Not({})", show(e)),
        Fdl::Negate(e) => format!("Negate({})", show(e)),
        Fdl::Binary { operator, operands } => {
            format!("{operator:?}({}; {})", show(&operands.0), show(&operands.1))
        }
        Fdl::Call {
            function,
            arguments,
        } => format!("{function:?}({})", all(arguments)),
    }
}

#[test]
fn expressions_are_read() {
    let check = |source: &str, expected: &str| {
        let got =
            parse(source, ROOTS, &Patterns::default()).map_or_else(|f| f.message, |e| show(&e));
        assert_eq!(got, expected, "{source}");
    };
    check("$Input", "$Input");
    check("$.key", "$.key");
    check("$Input.a-b[0]['c d'].e", "$Input.a-b[0]['c d'].e");
    check(
        r#"$Input.status=="ready""#,
        r#"Equal($Input.status; "ready")"#,
    );
    check("$Input.s == `a\"b`", r#"Equal($Input.s; "a\"b")"#);
    check(
        "$Context.Current.Input.Size>=1024",
        "GreaterOrEqual($Context.Current.Input.Size; 1024)",
    );
    check("$Input.a<1", "Less($Input.a; 1)");
    check("$Input.a != 1.5e3", "Unequal($Input.a; 1500.0)");
    check("1e+2 - -1", "Subtract(100.0; Negate(1))");
    check("1-1", "Subtract(1; 1)");
    check(
        "!$Input.a && $Input.b || true",
        "Or(And(Not($Input.a); $Input.b); true)",
    );
    check(
        "!($Input.a || false) == null",
        "Equal(Not(Or($Input.a; false)); null)",
    );
    check(
        "1 + 2 * 3 % 4 - 5",
        "Subtract(Add(1; Remainder(Multiply(2; 3); 4)); 5)",
    );
    check(
        "1 < 2 == true && 3 >= 2",
        "And(Equal(Less(1; 2); true); GreaterOrEqual(3; 2))",
    );
    check(r#"$Input.a in ["x", 2]"#, r#"In($Input.a; ["x"; 2])"#);
    check("$Input.index*2", "Multiply($Input.index; 2)");
    check("$Input.n%2==1", "Equal(Remainder($Input.n; 2); 1)");
    check("$Input['n%2']%$.b", "Remainder($Input['n%2']; $.b)");
    check("uuid( )", "Uuid()");
    check(
        r#"format("{}-{}", $Input.a, length(toArray(1,2)))"#,
        r#"Format("{}-{}"; $Input.a; Length(ToArray(1; 2)))"#,
    );
    check(r#"hash($Input.s, "MD5")"#, r#"Hash($Input.s; "MD5")"#);
    check("fromJSON($Input.s)", "StringToJson($Input.s)");
    check(r#" "a\nb\"\u00e9" "#, r#""a\nb\"é""#);
}

#[test]
fn expressions_are_shown() {
    let check = |source: &str, expected: &str| {
        let shown = parse(source, ROOTS, &Patterns::default()).map(|e| e.to_string());
        assert_eq!(shown.as_deref(), Ok(expected), "{source}");
        // What is shown means the same.
        let again = parse(expected, ROOTS, &Patterns::default()).map(|e| show(&e));
        assert_eq!(
            again,
            parse(source, ROOTS, &Patterns::default()).map(|e| show(&e)),
            "{source}"
        );
    };
    check(
        "$Input.status==`ready`&&$Input['a b']>=-1.5",
        "$Input.status == \"ready\" && $Input['a b'] >= -1.5",
    );
    check("(1+2)*3-(4-5)", "(1 + 2) * 3 - (4 - 5)");
    check("!($.a||$.b) || !$.c", "!($.a || $.b) || !$.c");
    check(
        "length( split($.a,\",\") ) in [1,null]",
        "length(split($.a, \",\")) in [1, null]",
    );
    check("fromJSON($.a) == uuid()", "stringToJson($.a) == uuid()");
}

#[test]
fn faults_say_where() {
    // `^` stands before the character that the fault is told at.
    let check = |marked: &str| {
        let source = marked.replace('^', "");
        let offset = marked.chars().take_while(|c| *c != '^').count();
        let found = parse(&source, ROOTS, &Patterns::default())
            .map(|e| show(&e))
            .map_err(|f| f.offset);
        assert_eq!(found, Err(Some(offset)), "{marked}");
    };
    check("^");
    check("$Input.a ==^");
    check("$Input.a ^= 1");
    check("$Input.a == ^ready");
    check("`é` == ^'x'");
    check("$Input.a == ^\"x");
    check("(1^]");
    check("toArray(1 ^2)");
    check("toArray(1^");
    check("1 + ^1.2.3");
    check("1 + ^$Inputs.a");
    check("1 + $Input.a.^");
    check("1 + ^lenght($Input.a)");
    check("1 + ^uuid(length([]))");
    check("[1, ^split($Input.a, 1)]");
}

#[test]
fn faults_say_why() {
    let check = |source: &str, expected: &str| {
        let Err(fault) = parse(source, ROOTS, &Patterns::default()) else {
            panic!("{source} was accepted")
        };
        let got = format!("{} {} {:?}", fault.code, fault.message, fault.hint);
        assert!(
            got.contains(expected) && got.starts_with("FLOW0101"),
            "{source}: {got}"
        );
    };
    check("", "a value is missing");
    check("$Input.a ==", "a value is missing");
    check("$Input.a = 1", "equality is ==");
    check(
        "$Input.a == ready",
        "a string stands in quotes: \\\"ready\\\"",
    );
    check("$Input.a == 'x'", "double quotes or back-quotes");
    check("$Input.a == \"x", "not closed");
    check("`x", "not closed");
    check("(1", "not closed");
    check("(1]", "found ']' where )");
    check("toArray(1 2)", "found '2'");
    check("toArray(1", "a call is not closed");
    check("[1", "a list is not closed");
    check("1 2", "after the expression");
    check("1.2.3", "is not a number");
    check("$Inputs.a", "did you mean \\\"$Input\\\"?");
    check("$Output.a", "$Output can be read only in OutputConstructor");
    check("$local", "can read $, $Input, $Context here");
    check("$Input.", "empty name");
    check("$Input.f(1)", "length($Input.list)");
    check("lenght($Input.a)", "did you mean \\\"length\\\"?");
    check("frobnicate()", "the functions are arrayContains");
    check("uuid(1)", "takes 0 arguments, not 1");
    check("format()", "at least 1");
    check("split($Input.a, 1)", "argument 2 of split must be a string");
    check("hash($Input.a, \"CRC\")", "SHA-256");
    check("jsonMerge(1, $Input)", "must be an object");
    check(
        &format!("{}1{}", "toArray(".repeat(11), ")".repeat(11)),
        "deeper than 10",
    );
    check(&"(".repeat(100), "deeper than 64");
    check(&"!".repeat(100), "deeper than 64");
    check(&vec!["1"; 1_002].join("+"), "more than 1000 parts");
    check(&"x".repeat(9_000), "at most 8192");
}
