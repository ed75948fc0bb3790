//! Rust text with everything blanked out that is not running code, so that a
//! rule about code does not trip over a comment.
//!
//! A lexer for exactly that: it refuses to understand more of the language.

/// Code of one file; every character stands where it stood.
pub struct Code {
    /// Comments blanked, strings kept.
    pub with_strings: String,
    /// Comments and the insides of strings blanked, and the unit tests at the end.
    pub plain: String,
}

impl Code {
    /// Blanks out a file's text.
    pub fn of(text: &str) -> Code {
        let mut lexer = Lexer {
            rest: text.chars().collect(),
            at: 0,
            strings: String::with_capacity(text.len()),
            plain: String::with_capacity(text.len()),
        };
        lexer.run();
        let end = tests_start(&lexer.plain);
        let cut = |mut text: String| {
            // The two texts differ in bytes where a string held wide characters.
            let lines = lexer.plain[..end].matches('\n').count();
            let at = text.match_indices('\n').nth(lines).map(|found| found.0);
            if end < lexer.plain.len() {
                text.truncate(at.unwrap_or(text.len()));
            }
            text
        };
        let with_strings = cut(lexer.strings.clone());
        let plain = lexer.plain[..end].to_owned();
        Code {
            with_strings,
            plain,
        }
    }

    /// Lines (from 1) on which `needle` stands as a whole word.
    pub fn find(&self, needle: &str) -> Vec<usize> {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let mut lines = Vec::new();
        for (at, _) in self.plain.match_indices(needle) {
            let before = self.plain[..at].chars().next_back();
            let after = self.plain[at + needle.len()..].chars().next();
            let starts = !needle.starts_with(word) || !before.is_some_and(word);
            let ends = !needle.ends_with(word) || !after.is_some_and(word);
            if starts && ends {
                lines.push(line_of(&self.plain, at));
            }
        }
        lines
    }
}

/// The line (from 1) of a byte offset.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(at)
        .filter(|b| **b == b'\n')
        .count()
}

/// Where the unit tests start: by habit the last item of a file.
fn tests_start(plain: &str) -> usize {
    let mut from = 0;
    while let Some(found) = plain[from..].find("#[cfg(test)]") {
        let at = from + found;
        let after = plain[at + "#[cfg(test)]".len()..].trim_start();
        if after.starts_with("mod tests") && after.contains('{') {
            return at;
        }
        from = at + 1;
    }
    plain.len()
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    strings: String,
    plain: String,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    /// Takes `count` characters, kept or blanked in each of the two texts.
    fn take(&mut self, count: usize, in_strings: bool, in_plain: bool) {
        for _ in 0..count {
            let Some(c) = self.peek(0) else { return };
            let blank = if c == '\n' { '\n' } else { ' ' };
            self.strings.push(if in_strings { c } else { blank });
            self.plain.push(if in_plain { c } else { blank });
            self.at += 1;
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                '/' if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.take(1, false, false);
                    }
                }
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                'r' | 'b' | 'c' if self.starts_word() && self.raw_string() => {}
                '"' => self.string(),
                '\'' => self.quote(),
                _ => self.take(1, true, true),
            }
        }
    }

    fn starts_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.rest.get(at));
        !before.is_some_and(|c| c.is_alphanumeric() || *c == '_')
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.take(2, false, false);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.take(2, false, false);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.take(1, false, false),
            }
        }
    }

    fn string(&mut self) {
        self.take(1, true, true);
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => self.take(2, true, false),
                '"' => return self.take(1, true, true),
                _ => self.take(1, true, false),
            }
        }
    }

    /// `r"…"`, `r#"…"#`, `br"…"`; false if there is none here.
    fn raw_string(&mut self) -> bool {
        let mut ahead = usize::from(self.peek(0) != Some('r'));
        if self.peek(ahead) != Some('r') {
            return false;
        }
        ahead += 1;
        let mut hashes = 0;
        while self.peek(ahead + hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(ahead + hashes) != Some('"') {
            return false;
        }
        self.take(ahead + hashes + 1, true, true);
        while let Some(c) = self.peek(0) {
            let closes = c == '"' && (1..=hashes).all(|n| self.peek(n) == Some('#'));
            if closes {
                self.take(1 + hashes, true, true);
                return true;
            }
            self.take(1, true, false);
        }
        true
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.take(3, true, true);
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.take(1, true, true);
            }
            self.take(1, true, true);
        } else if self.peek(2) == Some('\'') {
            self.take(1, true, true);
            self.take(1, true, false);
            self.take(1, true, true);
        } else {
            self.take(1, true, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_code_is_left() {
        let check = |text: &str, plain: &str| assert_eq!(Code::of(text).plain, plain, "{text}");
        check("a // b\nc", "a     \nc");
        check("a /* /* b */ */ c", "a               c");
        check("f(\"a\\\"//b\"); g", "f(\"      \"); g");
        check("r#\"a\"b\"# c", "r#\"   \"# c");
        check("'\"' 'a 'b'", "' ' 'a ' '");
        check("a\n#[cfg(test)]\nmod tests {\n x }\n", "a\n");
    }

    #[test]
    fn words_are_found_whole() {
        let code = Code::of("std::fs x\nmystd::fs\nstd::fss \"std::fs\"\nstd::fs::read");
        assert_eq!(code.find("std::fs"), [1, 4]);
    }
}
