//! What it costs to read a regular expression, before anything is made of it.
//!
//! Refuses to translate the pattern: that is what costs.

use std::convert::Infallible;

use regex_syntax::ast::parse::{Parser, ParserBuilder};
use regex_syntax::ast::{self, Ast, ClassSetBinaryOp, ClassSetItem, Flag, Flags, GroupKind, Span};
use regex_syntax::hir::{Class, HirKind};

/// Operations for a class: it may hold a thousand ranges of characters.
const CLASS: u64 = 5;
/// Characters, and ranges of them, that are looked up in one operation where case is ignored.
const CHARS: u64 = 50;
const RANGES: u64 = 4;
/// All characters that there are.
const ALL: u64 = 0x11_0000;
/// Most operations for a class that is no more than the letters of all languages: most of its
/// characters are in ranges that have no case.
const LETTERS: u64 = 250;
const LETTERS_MAX: u64 = 300_000;
/// Bytes of a pattern that are read in one operation.
const BYTES: usize = 16;

/// Operations to read a pattern. What cannot be parsed is not read any further.
pub(crate) fn reading(pattern: &str) -> u64 {
    let found = match Parser::new().parse(pattern) {
        Ok(ast) => ast::visit(&ast, Found::default()),
        Err(_) => Ok(Found::default()),
    };
    let Ok(found) = found;
    let mut operations = (pattern.len() / BYTES) as u64 + CLASS * found.classes;
    if found.caseless {
        let named = found.named.iter().map(|(span, times)| {
            let text = pattern.get(span.start.offset..span.end.offset);
            times * text.map_or(ALL / CHARS, looked_up)
        });
        operations += found.chars / CHARS + found.ranges / RANGES + named.sum::<u64>();
    }
    operations
}

/// A pattern as it can be put between parentheses: by itself, so that it closes none of them,
/// and not ending in a comment, in which the last of them would be lost.
pub(super) fn bare(pattern: &str, comments: bool) -> Result<String, Box<ast::Error>> {
    let mut parser = ParserBuilder::new().ignore_whitespace(comments).build();
    let parsed = parser.parse_with_comments(pattern).map_err(Box::new)?;
    let last = parsed.comments.last().map(|last| last.span.end.offset);
    let end = if last == Some(pattern.len()) {
        "\n"
    } else {
        ""
    };
    Ok(format!("{pattern}{end}"))
}

/// Operations to look up the characters of a class that has a name, such as `\w`.
fn looked_up(class: &str) -> u64 {
    match regex_syntax::parse(class).as_ref().map(|hir| hir.kind()) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            let chars: u64 = class
                .iter()
                .map(|range| 1 + u64::from(u32::from(range.end()) - u32::from(range.start())))
                .sum();
            let operations = chars / CHARS + class.ranges().len() as u64 / RANGES;
            match chars > LETTERS_MAX {
                true => operations,
                false => operations.min(LETTERS),
            }
        }
        Ok(HirKind::Literal(_)) => 1,
        _ => ALL / CHARS,
    }
}

/// What a pattern holds that takes long to read.
#[derive(Default)]
struct Found {
    /// Case is ignored somewhere.
    caseless: bool,
    /// Classes, and operators between them.
    classes: u64,
    /// Characters of classes, each as often as it is looked up.
    chars: u64,
    /// Ranges of classes, as often.
    ranges: u64,
    /// Classes by name, and how often their characters are looked up.
    named: Vec<(Span, u64)>,
    /// Brackets around here that are in a bracket: each is looked up with all that is in it.
    depth: u64,
}

impl Found {
    fn flags(&mut self, flags: &Flags) {
        self.caseless |= flags.flag_state(Flag::CaseInsensitive) == Some(true);
    }

    fn named(&mut self, span: Span) {
        self.classes += 1;
        self.named.push((span, self.depth + 1));
    }

    fn chars(&mut self, count: u64) {
        self.chars += count * (self.depth + 1);
        self.ranges += self.depth + 1;
    }
}

impl ast::Visitor for Found {
    type Output = Found;
    type Err = Infallible;

    fn finish(self) -> Result<Found, Infallible> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(class) => self.named(class.span),
            // `\w` by itself has both cases already.
            Ast::ClassPerl(_) | Ast::ClassBracketed(_) => self.classes += 1,
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        match item {
            ClassSetItem::Unicode(class) => self.named(class.span),
            ClassSetItem::Perl(class) => self.named(class.span),
            ClassSetItem::Literal(_) => self.chars(1),
            ClassSetItem::Range(range) => {
                let (start, end) = (u32::from(range.start.c), u32::from(range.end.c));
                self.chars(u64::from(end.saturating_sub(start)) + 1);
            }
            ClassSetItem::Bracketed(inner) => {
                self.classes += 1;
                if inner.negated {
                    self.chars(ALL);
                }
                self.depth += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_post(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        self.depth -= u64::from(matches!(item, ClassSetItem::Bracketed(_)));
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), Infallible> {
        self.classes += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cost_by_what_is_in_them() {
        let check = |pattern: &str, least: u64, most: u64| {
            let found = reading(pattern);
            let fits = (least..=most).contains(&found);
            assert!(fits, "{pattern}: {found}");
        };
        check("", 0, 0);
        check(&"a".repeat(160), 10, 10);
        check(r"\w+@\w+", 10, 10);
        check(r"[a-z\d]", 10, 10);
        check("(?i)[a-z]", 5, 5);
        check(r"(?-i)[\w]", 10, 11);
        check(r"\[\\w[\]]", 5, 5);
        check(r"(?i)\w", 5, 5);
        check(r"(?i)[\d_]", 15, 50);
        check(r"(?i)\p{Lu}", 100, 260);
        check(r"(?i)[\w-]", 250, 270);
        check(r"a(?s-m:b|(?i)c)\pL", 100, 260);
        check("(?x)( ?i: \\p{Lu} )", 100, 260);
        check("(?x)( # a comment\n ?i: \\p{Lu} )", 100, 260);
        check(r"(?i)[\s\S]", 20_000, 25_000);
        check(r"(?i)[a\P{Lu}]", 20_000, 25_000);
        check(r"(?i)[a[^b]]", 20_000, 25_000);
        check("(?i)[\0-\u{10ffff}]", 20_000, 25_000);
        check(r"(?i)[[[\w]a]b]", 750, 800);
        check(r"(?i)[\w--a--b]", 250, 280);
        // What is no pattern is not translated.
        check(r"(\w", 0, 0);
    }

    #[test]
    fn patterns_that_can_be_put_between_parentheses() {
        let check = |pattern: &str, expected: Option<&str>| {
            assert_eq!(bare(pattern, false).ok().as_deref(), expected, "{pattern}");
        };
        check("a|b", Some("a|b"));
        check("a # b", Some("a # b"));
        check("(?x)a # b", Some("(?x)a # b\n"));
        check("(?x)a # b\n", Some("(?x)a # b\n\n"));
        check("(?x:a # b\n)#", Some("(?x:a # b\n)#"));
        check(r"a|(?x)b[\#]", Some(r"a|(?x)b[\#]"));
        check("a)|(b", None);
        check("(a", None);
        assert_eq!(bare("a # b", true).as_deref(), Ok("a # b\n"));
    }
}
