//! The reader of JavaScript's patterns, which writes them anew.
//!
//! Refuses what JavaScript refuses.

use std::collections::HashMap;

/// The largest count of a repetition: a larger one would not fit either way.
const COUNT_MAX: u32 = 100_000;

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[
    ('\t', '\r'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{feff}', '\u{feff}'),
];
/// Where a line ends, as a class.
const LINE_ENDS: &str = "[\\n\\r\u{2028}\u{2029}]";
const NO_LINE_END: &str = "[^\\n\\r\u{2028}\u{2029}]";

/// The pattern in the libraries' syntax, and whether it must track back.
pub(super) fn read(pattern: &str, flags: &str) -> Result<(String, bool), String> {
    let mut reader = Reader::new(pattern, flags, false);
    reader.all()?;
    if !reader.needs_backtracking {
        return Ok((reader.out, false));
    }
    let mut reader = Reader::new(pattern, flags, true);
    reader.all()?;
    Ok((reader.out, true))
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    out: String,
    ignore_case: bool,
    multiline: bool,
    /// Written for the library that tracks back.
    backtracking: bool,
    needs_backtracking: bool,
    groups: Groups,
}

/// The groups that a pattern numbers.
#[derive(Default)]
struct Groups {
    count: usize,
    /// Of those with a name, the number.
    named: HashMap<String, usize>,
}

impl Reader {
    fn new(pattern: &str, flags: &str, backtracking: bool) -> Reader {
        let chars: Vec<char> = pattern.chars().collect();
        let groups = groups(&chars);
        Reader {
            chars,
            at: 0,
            out: String::new(),
            ignore_case: flags.contains('i'),
            multiline: flags.contains('m'),
            backtracking,
            needs_backtracking: false,
            groups,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let wanted: Vec<char> = text.chars().collect();
        let found = self.chars.get(self.at..self.at + wanted.len()) == Some(&wanted[..]);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn all(&mut self) -> Result<(), String> {
        // Of each open group, whether it may be repeated.
        let mut open: Vec<bool> = Vec::new();
        // Whether what was read last may be repeated.
        let mut repeatable = false;
        while let Some(c) = self.next() {
            repeatable = match c {
                '(' => {
                    open.push(self.group()?);
                    false
                }
                ')' => {
                    self.out.push(')');
                    open.pop().ok_or("a ) has no (")?
                }
                '|' => {
                    self.out.push('|');
                    false
                }
                '^' | '$' => {
                    self.edge(c == '^');
                    false
                }
                '.' => {
                    self.out.push_str(NO_LINE_END);
                    true
                }
                '[' => {
                    self.class()?;
                    true
                }
                '\\' => self.escape()?,
                '*' | '+' | '?' => {
                    self.repeats(repeatable)?;
                    self.out.push(c);
                    self.lazily();
                    false
                }
                '{' => match self.count()? {
                    Some(count) => {
                        self.repeats(repeatable)?;
                        self.out.push_str(&count);
                        self.lazily();
                        false
                    }
                    None => {
                        self.literal('{');
                        true
                    }
                },
                c => {
                    self.literal(c);
                    true
                }
            };
        }
        match open.is_empty() {
            true => Ok(()),
            false => Err("a ( has no )".to_owned()),
        }
    }

    fn repeats(&self, repeatable: bool) -> Result<(), String> {
        match repeatable {
            true => Ok(()),
            false => Err(format!("nothing to repeat at character {}", self.at)),
        }
    }

    fn lazily(&mut self) {
        if self.take("?") {
            self.out.push('?');
        }
    }

    /// The rest of `{n}`, `{n,}` or `{n,m}`; anything else is text.
    fn count(&mut self) -> Result<Option<String>, String> {
        let begin = self.at;
        let number = |reader: &mut Reader| {
            let from = reader.at;
            while reader.peek().is_some_and(|c| c.is_ascii_digit()) {
                reader.at += 1;
            }
            let digits: String = reader.chars.get(from..reader.at)?.iter().collect();
            match digits.is_empty() {
                true => None,
                false => Some(digits.parse::<u32>().unwrap_or(u32::MAX)),
            }
        };
        let least = number(self);
        let comma = self.take(",");
        let most = if comma { number(self) } else { None };
        let Some(least) = least.filter(|_| self.take("}")) else {
            self.at = begin;
            return Ok(None);
        };
        if most.is_some_and(|most| most < least) {
            return Err(format!("the counts at character {begin} are out of order"));
        }
        if least > COUNT_MAX || most.is_some_and(|most| most > COUNT_MAX) {
            return Err(format!(
                "the count at character {begin} is above {COUNT_MAX}"
            ));
        }
        Ok(Some(match (comma, most) {
            (false, _) => format!("{{{least}}}"),
            (true, None) => format!("{{{least},}}"),
            (true, Some(most)) => format!("{{{least},{most}}}"),
        }))
    }

    /// What follows a bracket; whether the group may be repeated.
    fn group(&mut self) -> Result<bool, String> {
        if !self.take("?") {
            self.out.push('(');
            return Ok(true);
        }
        for (kind, looks, repeatable) in [
            (":", false, true),
            ("=", true, true),
            ("!", true, true),
            ("<=", true, false),
            ("<!", true, false),
        ] {
            if self.take(kind) {
                self.needs_backtracking |= looks;
                self.out.push_str("(?");
                self.out.push_str(kind);
                return Ok(repeatable);
            }
        }
        // Groups are known by their number; the name is read for `\k<name>`.
        if self.take("<") {
            while let Some(c) = self.next() {
                if c == '>' {
                    self.out.push('(');
                    return Ok(true);
                }
            }
        }
        Err(format!("an unknown kind of group at character {}", self.at))
    }

    /// `^` and `$`.
    fn edge(&mut self, begin: bool) {
        self.out
            .push_str(&match (self.multiline, self.backtracking, begin) {
                (false, false, true) => "^".to_owned(),
                (false, false, false) => "$".to_owned(),
                (false, true, true) => "\\A".to_owned(),
                (false, true, false) => "\\z".to_owned(),
                (true, false, true) => "(?mR:^)".to_owned(),
                (true, false, false) => "(?mR:$)".to_owned(),
                (true, true, true) => format!("(?:\\A|(?<={LINE_ENDS}))"),
                (true, true, false) => format!("(?:\\z|(?={LINE_ENDS}))"),
            });
    }

    /// A character as itself.
    fn literal(&mut self, c: char) {
        if self.ignore_case && c.is_ascii_alphabetic() {
            let (lower, upper) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
            self.out.extend(['[', lower, upper, ']']);
        } else if self.ignore_case && !c.is_ascii() && c.is_alphabetic() {
            self.out.push_str("(?i:");
            self.out.push(c);
            self.out.push(')');
        } else {
            if "\\.+*?()|[]{}^$#".contains(c) {
                self.out.push('\\');
            }
            self.out.push(c);
        }
    }

    /// What follows a `\` outside of a class; whether it may be repeated.
    fn escape(&mut self) -> Result<bool, String> {
        let Some(c) = self.next() else {
            return Err("it ends in a \\".to_owned());
        };
        if let Some((ranges, negated)) = set(c) {
            self.out.push_str(&class(ranges, negated));
            return Ok(true);
        }
        match c {
            'b' | 'B' => {
                let word = class(WORD, false);
                let (same, other) = match c {
                    'b' => ("!", "="),
                    _ => ("=", "!"),
                };
                if c == 'b' && !self.backtracking {
                    self.out.push_str("(?-u:\\b)");
                } else {
                    self.needs_backtracking = true;
                    self.out.push_str(&format!(
                        "(?:(?<={word})(?{same}{word})|(?<!{word})(?{other}{word}))"
                    ));
                }
                return Ok(false);
            }
            'k' if !self.groups.named.is_empty() => {
                let name = match self.chars.get(self.at..) {
                    Some(['<', rest @ ..]) => name(rest),
                    _ => None,
                };
                let name = name.ok_or("\\k names no group")?;
                let found = self.groups.named.get(&name);
                let group = *found.ok_or_else(|| format!("there is no group {name:?}"))?;
                self.at += name.chars().count() + 2;
                self.refer(group);
            }
            '1'..='9' => {
                let begin = self.at;
                let mut group = c.to_digit(10).unwrap_or(0) as usize;
                while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
                    group = group.saturating_mul(10).saturating_add(digit as usize);
                    self.at += 1;
                }
                if group <= self.groups.count {
                    self.refer(group);
                } else {
                    self.at = begin;
                    let c = self.octal(c);
                    self.literal(c);
                }
            }
            c => {
                let c = self.character(c)?;
                self.literal(c);
            }
        }
        Ok(true)
    }

    /// The text of a group; nothing if the group has matched nothing yet.
    fn refer(&mut self, group: usize) {
        self.needs_backtracking = true;
        let same = match self.ignore_case {
            true => format!("(?i:\\{group})"),
            false => format!("\\{group}"),
        };
        self.out.push_str(&format!("(?({group}){same}|)"));
    }

    /// The character that an escape stands for, within a class and without.
    fn character(&mut self, c: char) -> Result<char, String> {
        Ok(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'f' => '\u{c}',
            '0'..='7' => self.octal(c),
            'c' => match self.peek().filter(char::is_ascii_alphabetic) {
                Some(letter) => {
                    self.at += 1;
                    char::from(letter as u8 % 32)
                }
                None => {
                    // The \ is text, and so is what follows.
                    self.at -= 1;
                    '\\'
                }
            },
            'x' => self.hex(2).and_then(char::from_u32).unwrap_or('x'),
            'u' => match self.hex(4) {
                None => 'u',
                Some(unit) => self.unit(unit)?,
            },
            c => c,
        })
    }

    fn octal(&mut self, first: char) -> char {
        let Some(mut code) = first.to_digit(8) else {
            return first;
        };
        for _ in 0..2 {
            let digit = self.peek().and_then(|c| c.to_digit(8));
            let Some(longer) = digit.map(|d| code * 8 + d).filter(|code| *code < 256) else {
                break;
            };
            code = longer;
            self.at += 1;
        }
        char::from_u32(code).unwrap_or(first)
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text: String = self.chars.get(self.at..self.at + digits)?.iter().collect();
        let all = text.chars().all(|c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| all)?;
        self.at += digits;
        Some(code)
    }

    /// A unit of UTF-16: a character, or half of one that the next escape completes.
    fn unit(&mut self, unit: u32) -> Result<char, String> {
        if let Some(c) = char::from_u32(unit) {
            return Ok(c);
        }
        let low = match self.take("\\u") {
            true => self.hex(4),
            false => None,
        };
        let both = low.and_then(|low| {
            let units = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
            char::decode_utf16(units).next()?.ok()
        });
        both.ok_or_else(|| format!("\\u{unit:04x} is half of a character"))
    }

    /// What follows a `[`.
    fn class(&mut self) -> Result<(), String> {
        let negated = self.take("^");
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut others = String::new();
        loop {
            let first = match self.member(&mut ranges, &mut others)? {
                Member::End => break,
                Member::Set => continue,
                Member::Char(c) => c,
            };
            let after = self.at;
            if !self.take("-") {
                ranges.push((first, first));
                continue;
            }
            match self.member(&mut ranges, &mut others)? {
                Member::Char(last) if last < first => {
                    return Err(format!("the range {first}-{last} is out of order"));
                }
                Member::Char(last) => ranges.push((first, last)),
                // The hyphen is itself.
                Member::Set => ranges.extend([(first, first), ('-', '-')]),
                Member::End => {
                    ranges.extend([(first, first), ('-', '-')]);
                    self.at = after + 1;
                }
            }
        }
        let mut fold = false;
        if self.ignore_case {
            let mut cased = Vec::new();
            for (first, last) in &ranges {
                // White space, of `\s`, has no case.
                fold = fold || !last.is_ascii() && !SPACE.contains(&(*first, *last));
                for (from, to, other) in [('a', 'z', 'A'), ('A', 'Z', 'a')] {
                    let (low, high) = ((*first).max(from), (*last).min(to));
                    if low <= high {
                        let moved = |c: char| char::from((c as u8 - from as u8) + other as u8);
                        cased.push((moved(low), moved(high)));
                    }
                }
            }
            ranges.extend(cased);
        }
        let written = match (ranges.is_empty() && others.is_empty(), negated) {
            (true, true) => "(?s:.)".to_owned(),
            (true, false) => "[a&&b]".to_owned(),
            (false, _) => {
                let mut text = class(&ranges, negated);
                text.truncate(text.len() - 1);
                format!("{text}{others}]")
            }
        };
        match fold {
            true => self.out.push_str(&format!("(?i:{written})")),
            false => self.out.push_str(&written),
        }
        Ok(())
    }

    /// The next member of a class. Sets are put where they belong.
    fn member(
        &mut self,
        ranges: &mut Vec<(char, char)>,
        others: &mut String,
    ) -> Result<Member, String> {
        match self.next() {
            None => Err("a [ has no ]".to_owned()),
            Some(']') => Ok(Member::End),
            Some('\\') => {
                let Some(c) = self.next() else {
                    return Err("it ends in a \\".to_owned());
                };
                if let Some((set, negated)) = set(c) {
                    match negated {
                        true => others.push_str(&class(set, true)),
                        false => ranges.extend(set),
                    }
                    return Ok(Member::Set);
                }
                Ok(Member::Char(match c {
                    'b' => '\u{8}',
                    c => self.character(c)?,
                }))
            }
            Some(c) => Ok(Member::Char(c)),
        }
    }
}

enum Member {
    Char(char),
    Set,
    End,
}

/// The characters of `\d`, `\w` and `\s`, and whether all others are meant.
fn set(c: char) -> Option<(&'static [(char, char)], bool)> {
    let ranges = match c.to_ascii_lowercase() {
        'd' => DIGIT,
        'w' => WORD,
        's' => SPACE,
        _ => return None,
    };
    Some((ranges, c.is_ascii_uppercase()))
}

fn class(ranges: &[(char, char)], negated: bool) -> String {
    let shown = |c: char| match c {
        ' ' | '_' => c.to_string(),
        c if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
        c => format!("\\x{:02x}", u32::from(c)),
    };
    let mut text = String::from(if negated { "[^" } else { "[" });
    for (first, last) in ranges {
        text.push_str(&shown(*first));
        if first != last {
            text.push('-');
            text.push_str(&shown(*last));
        }
    }
    text.push(']');
    text
}

/// What is before the next `>`, if there is one.
fn name(rest: &[char]) -> Option<String> {
    let end = rest.iter().position(|c| *c == '>')?;
    rest.get(..end).map(|name| name.iter().collect())
}

fn groups(chars: &[char]) -> Groups {
    let mut found = Groups::default();
    let mut class = false;
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        at += 1;
        match c {
            '\\' => at += 1,
            '[' => class = true,
            ']' => class = false,
            '(' if !class => {
                let rest = chars.get(at..).unwrap_or_default();
                match rest {
                    ['?', '<', '=' | '!', ..] => {}
                    ['?', '<', rest @ ..] => {
                        // Without an end it takes all, and is refused when it is read.
                        let Some(name) = name(rest) else { break };
                        found.count += 1;
                        at += name.chars().count() + 3;
                        found.named.entry(name).or_insert(found.count);
                    }
                    ['?', ..] => {}
                    _ => found.count += 1,
                }
            }
            _ => {}
        }
    }
    found
}
