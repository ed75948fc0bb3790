//! CloudFlow expressions: characters to [`Fdl`].
//!
//! From loose to tight: `||`, `&&`, `== !=`, `< <= > >= in`, `+ -`, `* / %`, `! -`.
//! An unquoted name in a path ends at an operator, but for `-` and `%`, which names may
//! hold: `$Input.a - 1` subtracts, `$Input.a-1` reads `a-1`. Refuses to evaluate.

use serde_json::{Number, Value};

use super::function::FUNCTIONS;
use super::{Fdl, Function, Operator, Place, Root};
use crate::diagnostic::code;
use crate::path::{self, Fault, Mode, Patterns, Scan, clip};
use crate::suggest;

/// Deepest nesting of calls, as in CloudFlow.
const CALLS_MAX: usize = 10;
/// Deepest nesting of everything: parentheses, lists, signs, calls.
const NESTING_MAX: usize = 64;
/// Longest expression in bytes.
const BYTES_MAX: usize = 8_192;
/// Most operands and arguments of one expression: each is an evaluation.
const NODES_MAX: usize = 1_000;

/// The operators by how tightly they bind; longer spellings first.
pub(super) const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::Unequal)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("in", Operator::In),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
    ],
];

/// What an expression may read where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots {
    /// Names without `$`; an empty one is `$` alone.
    pub(crate) here: &'static [(&'static str, Root)],
    /// Names that mean something elsewhere, and where.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

/// Reads a whole string as an expression.
pub(crate) fn parse(source: &str, roots: Roots, patterns: &Patterns) -> Result<Fdl, Fault> {
    if source.len() > BYTES_MAX {
        return Err(bad(format!(
            "the expression has {} bytes; at most {BYTES_MAX} are allowed",
            source.len()
        )));
    }
    let mut parser = Parser {
        scan: Scan::new(source, Mode::Filter, patterns),
        roots,
        nodes: 0,
        nesting: 0,
        calls: 0,
        stopped: source.len(),
    };
    let all = parser.whole();
    all.map_err(|fault| {
        let before = source.len().saturating_sub(parser.stopped);
        let before = source.get(..before).unwrap_or_default();
        Fault {
            offset: Some(before.chars().count()),
            ..fault
        }
    })
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(message).code(code::BAD_EXPRESSION)
}

struct Parser<'a> {
    scan: Scan<'a>,
    roots: Roots,
    nodes: usize,
    nesting: usize,
    calls: usize,
    /// How many bytes were left where a fault would be told.
    stopped: usize,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Fdl, Fault> {
        let all = self.level(0)?;
        self.scan.skip_space();
        self.here();
        let rest = self.scan.rest();
        if rest.is_empty() {
            return Ok(all);
        }
        let fault = bad(format!(
            "{:?} after the expression makes no sense",
            clip(rest)
        ));
        Err(if rest.starts_with('=') {
            fault.hint("equality is ==")
        } else {
            fault
        })
    }

    /// A fault that is found now is told at this place.
    fn here(&mut self) {
        self.stopped = self.scan.rest().len();
    }

    fn level(&mut self, level: usize) -> Result<Fdl, Fault> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.level(level + 1)?;
            left = Fdl::Binary {
                operator,
                operands: Box::new((left, right)),
            };
            // A chain leans to the left, and is walked by recursion.
            self.count()?;
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.scan.skip_space();
        let rest = self.scan.rest();
        let (text, operator) = operators.iter().find(|(text, _)| {
            let after = rest.strip_prefix(text).map(|rest| rest.chars().next());
            match after {
                Some(next) if *text == "in" => !next.is_some_and(is_word),
                found => found.is_some(),
            }
        })?;
        self.scan.eat_text(text);
        Some(*operator)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(bad(format!(
                "the expression has more than {NODES_MAX} parts"
            )));
        }
        Ok(())
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(bad(format!(
                "the expression is nested deeper than {NESTING_MAX} levels"
            )));
        }
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    fn unary(&mut self) -> Result<Fdl, Fault> {
        self.count()?;
        self.scan.skip_space();
        if self.scan.eat('!') {
            let inner = self.deeper(Self::unary)?;
            return Ok(Fdl::Not(Box::new(inner)));
        }
        if self.scan.eat('-') {
            let inner = self.deeper(Self::unary)?;
            return Ok(Fdl::Negate(Box::new(inner)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Fdl, Fault> {
        self.here();
        match self.scan.peek() {
            Some('$') => self.place().map(Fdl::Path),
            Some('"') => {
                self.scan.bump();
                let text = self
                    .scan
                    .quoted('"')
                    .map_err(|f| f.code(code::BAD_EXPRESSION))?;
                Ok(Fdl::Literal(text.into()))
            }
            Some('`') => {
                self.scan.bump();
                let text = self.scan.take_while(|c| c != '`');
                if self.scan.eat('`') {
                    return Ok(Fdl::Literal(text.into()));
                }
                Err(bad("a string is not closed"))
            }
            Some('\'') => Err(bad("a string stands in double quotes or back-quotes")),
            Some('(') => {
                self.scan.bump();
                let inner = self.deeper(|p| p.level(0))?;
                self.scan.skip_space();
                if self.scan.eat(')') {
                    return Ok(inner);
                }
                Err(self.unclosed("a parenthesis", ')'))
            }
            Some('[') => {
                self.scan.bump();
                self.deeper(|p| p.list(']')).map(Fdl::List)
            }
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if is_word(c) => self.word(),
            Some(c) => Err(bad(format!("found {c:?} where a value should come"))
                .hint("write a path ($Input.name), a number, a \"string\" or a call")),
            None => Err(bad("a value is missing at the end of the expression")),
        }
    }

    fn unclosed(&mut self, what: &str, wanted: char) -> Fault {
        self.here();
        match self.scan.peek() {
            None => bad(format!("{what} is not closed")),
            Some(c) => bad(format!("found {c:?} where {wanted} should come")),
        }
    }

    fn number(&mut self) -> Result<Fdl, Fault> {
        let mut text = self
            .scan
            .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E'))
            .to_owned();
        // The sign of an exponent; `1+2` is a sum.
        if text.ends_with(['e', 'E']) && matches!(self.scan.peek(), Some('+' | '-')) {
            text.extend(self.scan.bump());
            text.push_str(self.scan.take_while(|c| c.is_ascii_digit()));
        }
        serde_json::from_str::<Number>(&text)
            .map(|n| Fdl::Literal(Value::Number(n)))
            .map_err(|_| bad(format!("{:?} is not a number", clip(&text))))
    }

    fn word(&mut self) -> Result<Fdl, Fault> {
        let word = self.scan.take_while(is_word);
        self.scan.skip_space();
        if self.scan.eat('(') {
            return self.call(word);
        }
        match word {
            "true" => Ok(Fdl::Literal(true.into())),
            "false" => Ok(Fdl::Literal(false.into())),
            "null" | "nil" => Ok(Fdl::Literal(Value::Null)),
            _ => Err(bad(format!("{:?} is no value", clip(word)))
                .hint(format!("a string stands in quotes: \"{}\"", clip(word)))),
        }
    }

    fn call(&mut self, name: &'a str) -> Result<Fdl, Fault> {
        let begin = self.stopped;
        let Some((_, function, least, most)) = FUNCTIONS.iter().find(|f| f.0 == name) else {
            let fault = bad(format!("there is no function {:?}", clip(name)));
            let hint = suggest::hint(name, FUNCTIONS.iter().map(|f| f.0)).unwrap_or_else(|| {
                let all: Vec<_> = FUNCTIONS.iter().map(|f| f.0).collect();
                format!("the functions are {}", all.join(", "))
            });
            return Err(fault.hint(hint));
        };
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return Err(bad(format!(
                "calls are nested deeper than {CALLS_MAX} levels, the most that CloudFlow allows"
            )));
        }
        let arguments = self.deeper(|p| p.list(')'))?;
        self.calls -= 1;
        // What is wrong with the arguments together is told where the name stands.
        self.stopped = begin;
        if arguments.len() < *least || arguments.len() > *most {
            let wanted = match (*least, *most) {
                (a, usize::MAX) => format!("at least {a}"),
                (a, _) => format!("{a}"),
            };
            return Err(bad(format!(
                "{name} takes {wanted} arguments, not {}",
                arguments.len()
            )));
        }
        check_literals(name, *function, &arguments)?;
        Ok(Fdl::Call {
            function: *function,
            arguments,
        })
    }

    /// Elements or arguments with commas between them, to after `end`; the opening character is read.
    fn list(&mut self, end: char) -> Result<Vec<Fdl>, Fault> {
        let mut all = Vec::new();
        self.scan.skip_space();
        if self.scan.eat(end) {
            return Ok(all);
        }
        loop {
            all.push(self.level(0)?);
            self.scan.skip_space();
            if self.scan.eat(end) {
                return Ok(all);
            }
            if !self.scan.eat(',') {
                let what = if end == ')' { "a call" } else { "a list" };
                return Err(self.unclosed(what, end));
            }
        }
    }

    fn place(&mut self) -> Result<Place, Fault> {
        let begin = self.scan.rest();
        self.scan.eat('$');
        let name = self
            .scan
            .take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let found = self.roots.here.iter().find(|(n, _)| *n == name);
        let Some((_, root)) = found else {
            return Err(self.no_root(name));
        };
        let query = path::relative(&mut self.scan).map_err(|fault| {
            self.stopped = self.scan.rest().len();
            fault.code(code::BAD_EXPRESSION)
        })?;
        let length = begin.len() - self.scan.rest().len();
        Ok(Place {
            source: begin.get(..length).unwrap_or(begin).into(),
            root: *root,
            query,
        })
    }

    fn no_root(&self, name: &str) -> Fault {
        if let Some((_, place)) = self.roots.elsewhere.iter().find(|(n, _)| *n == name) {
            return bad(format!("${name} can be read only in {place}"));
        }
        let known = self.roots.here.iter().map(|r| r.0);
        let hint = suggest::nearest(name, known.clone().filter(|n| !n.is_empty()))
            .map(|n| format!("did you mean \"${n}\"?"));
        let fault = bad(format!("there is nothing called \"${}\" here", clip(name)));
        fault.hint(hint.unwrap_or_else(|| {
            let all: Vec<_> = known.map(|n| format!("${n}")).collect();
            format!("an expression can read {} here", all.join(", "))
        }))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Finds literal arguments that can never be right.
fn check_literals(name: &str, function: Function, arguments: &[Fdl]) -> Result<(), Fault> {
    let check = |i: usize, holds: fn(&Value) -> bool, what: &str| match arguments.get(i) {
        Some(Fdl::Literal(value)) if !holds(value) => {
            Err(bad(format!("argument {} of {name} must be {what}", i + 1)))
        }
        _ => Ok(()),
    };
    let never: fn(&Value) -> bool = |_| false;
    match function {
        Function::ArrayContains | Function::ArrayUnique => check(0, never, "an array"),
        Function::Format | Function::FromBase64 | Function::ToBase64 | Function::StringToJson => {
            check(0, Value::is_string, "a string")
        }
        Function::RegexMatchString | Function::Split => {
            check(0, Value::is_string, "a string")?;
            check(1, Value::is_string, "a string")
        }
        Function::Hash => {
            check(0, Value::is_string, "a string")?;
            let known: fn(&Value) -> bool =
                |v| matches!(v.as_str(), Some("MD5" | "SHA-1" | "SHA-256" | "SHA-512"));
            check(1, known, "MD5, SHA-1, SHA-256 or SHA-512")
        }
        Function::JsonMerge => {
            check(0, never, "an object")?;
            check(1, never, "an object")
        }
        Function::MapKeys | Function::MapValues => check(0, never, "an object"),
        Function::IntAdd | Function::RandomInt => {
            check(0, Value::is_number, "a number")?;
            check(1, Value::is_number, "a number")
        }
        Function::ToArray
        | Function::JsonToString
        | Function::Length
        | Function::Uuid
        | Function::Get => Ok(()),
    }
}

#[cfg(test)]
mod tests;
