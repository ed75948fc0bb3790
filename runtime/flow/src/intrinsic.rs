//! Intrinsic functions of JSONPath mode: `States.Format('{}', $.a)` and the like.
//!
//! Refuses to evaluate: it reads, counts arguments and checks literal ones.
//! Source: states-language.net, "Intrinsic Functions" and appendix B.

use serde_json::{Number, Value};

use crate::diagnostic::code;
use crate::expression::{Expression, Intrinsic};
use crate::path::{self, Fault, Mode, Patterns, Scan, clip, unquote};
use crate::suggest;

/// Deepest nesting of calls.
const NESTING_MAX: usize = 32;

/// Bytes of a call's text that are kept for messages, about: each call in a call keeps its own.
const SOURCE_BYTES_MAX: usize = 1_000;

/// Name, fewest and most arguments.
const FUNCTIONS: [(&str, Intrinsic, usize, usize); 18] = [
    ("States.Format", Intrinsic::Format, 1, usize::MAX),
    ("States.StringToJson", Intrinsic::StringToJson, 1, 1),
    ("States.JsonToString", Intrinsic::JsonToString, 1, 1),
    ("States.Array", Intrinsic::Array, 0, usize::MAX),
    ("States.ArrayPartition", Intrinsic::ArrayPartition, 2, 2),
    ("States.ArrayContains", Intrinsic::ArrayContains, 2, 2),
    ("States.ArrayRange", Intrinsic::ArrayRange, 3, 3),
    ("States.ArrayGetItem", Intrinsic::ArrayGetItem, 2, 2),
    ("States.ArrayLength", Intrinsic::ArrayLength, 1, 1),
    ("States.ArrayUnique", Intrinsic::ArrayUnique, 1, 1),
    ("States.Base64Encode", Intrinsic::Base64Encode, 1, 1),
    ("States.Base64Decode", Intrinsic::Base64Decode, 1, 1),
    ("States.Hash", Intrinsic::Hash, 2, 2),
    ("States.JsonMerge", Intrinsic::JsonMerge, 3, 3),
    ("States.MathRandom", Intrinsic::MathRandom, 2, 3),
    ("States.MathAdd", Intrinsic::MathAdd, 2, 2),
    ("States.StringSplit", Intrinsic::StringSplit, 2, 2),
    ("States.UUID", Intrinsic::Uuid, 0, 0),
];

/// Reads what a template field or an `…Path` of Fail may hold: a path or a call.
pub(crate) fn parse(text: &str, patterns: &Patterns) -> Result<Expression, Fault> {
    let source = text.trim();
    if source.starts_with('$') {
        return path::parse(text, patterns).map(Expression::Path);
    }
    if !source.starts_with("States.") {
        return Err(Fault::new(format!(
            "{:?} is neither a path ($…) nor an intrinsic function (States.…)",
            clip(source)
        )));
    }
    let mut scan = Scan::new(source, Mode::Argument, patterns);
    let call = call(&mut scan, 0).map_err(|fault| fault.at(text, &scan))?;
    if !scan.rest().is_empty() {
        let fault = bad(format!(
            "{:?} after the function call makes no sense",
            clip(scan.rest())
        ));
        return Err(fault.at(text, &scan));
    }
    Ok(call)
}

/// What is wrong with a call where a string is needed; `None`: it may yield one.
pub(crate) fn no_text(function: Intrinsic, source: &str) -> Option<Fault> {
    let may = matches!(
        function,
        Intrinsic::Format
            | Intrinsic::JsonToString
            | Intrinsic::ArrayGetItem
            | Intrinsic::Base64Encode
            | Intrinsic::Base64Decode
            | Intrinsic::Hash
            | Intrinsic::Uuid
    );
    let fault = || {
        bad(format!("{} yields no string", clip(source))).hint(
            "States.Format, States.JsonToString, States.ArrayGetItem, States.Base64Encode, States.Base64Decode, States.Hash and States.UUID yield one",
        )
    };
    (!may).then(fault)
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(message).code(code::BAD_INTRINSIC)
}

fn call(scan: &mut Scan<'_>, depth: usize) -> Result<Expression, Fault> {
    if depth >= NESTING_MAX {
        return Err(bad(format!(
            "intrinsic functions are nested deeper than {NESTING_MAX} levels"
        )));
    }
    let begin = scan.rest();
    let name = scan.take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
    let Some((_, function, least, most)) = FUNCTIONS.iter().find(|f| f.0 == name) else {
        let fault = bad(format!("there is no intrinsic function {:?}", clip(name)));
        return Err(match suggest::hint(name, FUNCTIONS.iter().map(|f| f.0)) {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    };
    scan.skip_space();
    if !scan.eat('(') {
        return Err(bad(format!("{name} needs its arguments in parentheses")));
    }
    let arguments = arguments(scan, *function, depth)?;
    if arguments.len() < *least || arguments.len() > *most {
        let wanted = match (*least, *most) {
            (a, b) if a == b => format!("{a}"),
            (a, usize::MAX) => format!("at least {a}"),
            (a, b) => format!("{a} to {b}"),
        };
        return Err(bad(format!(
            "{name} takes {wanted} arguments, not {}",
            arguments.len()
        )));
    }
    check_literals(name, *function, &arguments)?;
    let mut length = (begin.len() - scan.rest().len()).min(SOURCE_BYTES_MAX);
    while !begin.is_char_boundary(length) {
        length += 1;
    }
    Ok(Expression::Call {
        function: *function,
        arguments,
        source: begin.get(..length).unwrap_or(begin).into(),
    })
}

/// After `(`, to after `)`.
fn arguments(
    scan: &mut Scan<'_>,
    function: Intrinsic,
    depth: usize,
) -> Result<Vec<Expression>, Fault> {
    let mut all = Vec::new();
    scan.skip_space();
    if scan.eat(')') {
        return Ok(all);
    }
    loop {
        scan.skip_space();
        // Only the template of Format gives braces a meaning.
        let template = function == Intrinsic::Format && all.is_empty();
        all.push(argument(scan, template, depth)?);
        scan.skip_space();
        if scan.eat(')') {
            return Ok(all);
        }
        if !scan.eat(',') {
            return Err(match scan.peek() {
                None => bad("a parenthesis is not closed"),
                Some(c) => bad(format!("found {c:?} where a comma or ) should come")),
            });
        }
    }
}

fn argument(scan: &mut Scan<'_>, template: bool, depth: usize) -> Result<Expression, Fault> {
    match scan.peek() {
        Some('$') => path::read(scan).map(Expression::Path),
        Some('\'') => {
            scan.bump();
            let text = unquote(scan, template).map_err(|f| f.code(code::BAD_INTRINSIC))?;
            Ok(Expression::Literal(Value::String(text)))
        }
        Some('"') => Err(bad("strings stand in single quotes")),
        Some('S') => call(scan, depth + 1),
        Some(c) if c == '-' || c.is_ascii_digit() => {
            let text = scan.take_while(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
            serde_json::from_str::<Number>(text)
                .map(|n| Expression::Literal(Value::Number(n)))
                .map_err(|_| bad(format!("{:?} is not a number", clip(text))))
        }
        Some(_) => {
            let word = scan.take_while(char::is_alphanumeric);
            match word {
                "true" => Ok(Expression::Literal(Value::Bool(true))),
                "false" => Ok(Expression::Literal(Value::Bool(false))),
                "null" => Ok(Expression::Literal(Value::Null)),
                _ => Err(bad(format!(
                    "{:?} is no argument",
                    clip(&format!("{word}{}", scan.rest()))
                ))
                .hint("write a path, a number, true, false, null, a 'string' or a call")),
            }
        }
        None => Err(bad("an argument is missing")),
    }
}

/// Finds literal arguments that can never be right.
fn check_literals(name: &str, function: Intrinsic, arguments: &[Expression]) -> Result<(), Fault> {
    let literal = |i: usize| match arguments.get(i) {
        Some(Expression::Literal(value)) => Some(value),
        _ => None,
    };
    let all = |numbers: std::ops::Range<usize>, holds: fn(&Value) -> bool, what: &str| {
        for i in numbers {
            if literal(i).is_some_and(|v| !holds(v)) {
                return Err(bad(format!("argument {} of {name} must be {what}", i + 1)));
            }
        }
        Ok(())
    };
    match function {
        Intrinsic::MathAdd => all(0..2, Value::is_number, "a number"),
        Intrinsic::MathRandom | Intrinsic::ArrayRange => all(0..3, Value::is_number, "a number"),
        Intrinsic::ArrayPartition | Intrinsic::ArrayGetItem => {
            all(0..1, |_| false, "an array")?;
            all(1..2, Value::is_number, "a number")
        }
        Intrinsic::ArrayContains | Intrinsic::ArrayLength | Intrinsic::ArrayUnique => {
            all(0..1, |_| false, "an array")
        }
        Intrinsic::StringSplit => all(0..2, Value::is_string, "a string"),
        Intrinsic::StringToJson | Intrinsic::Base64Encode | Intrinsic::Base64Decode => {
            all(0..1, Value::is_string, "a string")
        }
        Intrinsic::JsonMerge => {
            all(0..2, |_| false, "an object")?;
            all(
                2..3,
                |v| v == &Value::Bool(false),
                "false: only shallow merges exist",
            )
        }
        Intrinsic::Hash => all(
            1..2,
            is_algorithm,
            "MD5, SHA-1, SHA-256, SHA-384 or SHA-512",
        ),
        Intrinsic::Format => {
            all(0..1, Value::is_string, "a string")?;
            check_holes(literal(0), arguments.len().saturating_sub(1))
        }
        Intrinsic::JsonToString | Intrinsic::Array | Intrinsic::Uuid => Ok(()),
    }
}

fn is_algorithm(value: &Value) -> bool {
    matches!(
        value.as_str(),
        Some("MD5" | "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512")
    )
}

/// A literal template of Format has a `{}` for each further argument.
fn check_holes(template: Option<&Value>, given: usize) -> Result<(), Fault> {
    let Some(Value::String(template)) = template else {
        return Ok(());
    };
    let mut holes = 0;
    let mut chars = template.chars();
    let mut open = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
                open = false;
            }
            '{' => open = true,
            '}' if open => {
                holes += 1;
                open = false;
            }
            _ => open = false,
        }
    }
    if holes == given {
        return Ok(());
    }
    Err(bad(format!(
        "the template of States.Format has {holes} places {{}}, but {given} arguments follow"
    )))
}

#[cfg(test)]
mod tests {
    use crate::expression::Expression;
    use crate::path::Patterns;

    fn parse(text: &str) -> Result<Expression, crate::path::Fault> {
        super::parse(text, &Patterns::default())
    }

    fn show(e: &Expression) -> String {
        match e {
            Expression::Literal(v) => v.to_string(),
            Expression::Path(p) => p.source.to_string(),
            Expression::Jsonata(_) => "JSONata".to_owned(),
            Expression::Fdl(_) => "CloudFlow".to_owned(),
            Expression::Call {
                function,
                arguments,
                ..
            } => {
                let all: Vec<_> = arguments.iter().map(show).collect();
                format!("{function:?}({})", all.join("; "))
            }
        }
    }

    #[test]
    fn calls_are_read() {
        let check = |source: &str, expected: &str| {
            let got =
                parse(source).map_or_else(|f| format!("{} {}", f.code, f.message), |e| show(&e));
            assert_eq!(got, expected, "{source}");
        };
        check("States.UUID()", "Uuid()");
        check(
            "States.Array( 1 ,-2.5, true,null, 'a' )",
            "Array(1; -2.5; true; null; \"a\")",
        );
        check("States.Format('a{}', $.b)", "Format(\"a{}\"; $.b)");
        check(
            r"States.Format('\{\}\'\\{}', $.b)",
            r#"Format("\\{\\}'\\\\{}"; $.b)"#,
        );
        check(r"States.StringToJson('\{\'\\')", r#"StringToJson("{'\\")"#);
        check(
            r#"States.StringToJson('{"t":"\\"q\\""}')"#,
            r#"StringToJson("{\"t\":\"\\\"q\\\"\"}")"#,
        );
        check(
            "States.StringSplit('a\nb', '\n')",
            r#"StringSplit("a\nb"; "\n")"#,
        );
        check(
            "States.ArrayGetItem($.R[?(@.K == FooBar)].V, 0)",
            "ArrayGetItem($.R[?(@.K == FooBar)].V; 0)",
        );
        check(
            "States.MathAdd(States.ArrayLength(States.StringSplit($$.A, '-')), -1)",
            "MathAdd(ArrayLength(StringSplit($$.A; \"-\")); -1)",
        );
        check(
            "States.Array($['a,b'],$.c[0,1])",
            "Array($['a,b']; $.c[0,1])",
        );
        check(" $.a ", "$.a");
        check("States.Array($x, $x.y[0])", "Array($x; $x.y[0])");
    }

    #[test]
    fn calls_keep_their_text() {
        let check = |source: &str, expected: &str| match parse(source) {
            Ok(Expression::Call { source, .. }) => assert_eq!(&*source, expected),
            other => panic!("{source}: {other:?}"),
        };
        check(" States.Array( $.a , 1) ", "States.Array( $.a , 1)");
        let long = format!("States.Array('{}')", "é".repeat(2_000));
        let kept = long.get(..1_000).expect("between characters");
        check(&long, kept);
    }

    #[test]
    fn bad_calls_say_why() {
        let check = |source: &str, expected: &str| {
            let Err(fault) = parse(source) else {
                panic!("{source} was accepted")
            };
            let got = format!("{} {} {:?}", fault.code, fault.message, fault.hint);
            assert!(got.contains(expected), "{source}: {got}");
        };
        check("ipsum", "FLOW0016");
        check("States.Formt('x')", "did you mean \\\"States.Format\\\"?");
        check("States.UUID", "parentheses");
        check("States.UUID(1)", "takes 0 arguments, not 1");
        check("States.MathRandom(1)", "takes 2 to 3 arguments");
        check("States.Format()", "at least 1");
        check(
            "States.MathAdd(1,'-1')",
            "argument 2 of States.MathAdd must be a number",
        );
        check("States.Format('{} {}', $.a)", "2 places {}, but 1");
        check("States.Hash($.a, 'CRC')", "SHA-256");
        check("States.JsonMerge($.a, $.b, true)", "only shallow");
        check("States.Array('a", "not closed");
        check(r"States.Array('\n')", r"\n means nothing");
        check(r"States.Format('\u{}', 1)", "for a backslash write two");
        check(r#"States.Array('\"')"#, "needs no backslash of its own");
        check("States.Array(1", "not closed");
        check("States.Array(1 2)", "comma");
        check("States.Array(,)", "is no argument");
        check("States.Array(\"a\")", "single quotes");
        check("States.Array(1) 2", "after the function call");
        check(&"States.Array(".repeat(50), "deeper");
    }
}
