//! Looks for values of secrets in texts: as they are, in base 64, and within JSON however it is spelt.
//!
//! Refuses nothing: it finds, and puts a name in a value's place for good. A net, not a wall: a value in
//! other words is not found.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use stepwell_types::Secret;

/// What is shorter is found everywhere and guards nothing: it is not looked for.
const FORM_BYTES_MIN: usize = 6;
/// Of a longer form its beginning is looked for.
const FORM_BYTES_MAX: usize = 256;
/// Lines of one value that are looked for each by itself.
const LINES_MAX: usize = 64;
/// JSON in JSON in JSON: so often a text is read as if it were a string's inside.
const LEVELS: usize = 3;

/// What is looked for.
pub(super) struct Search {
    finder: AhoCorasick,
    forms: Vec<Form>,
    /// Numbers of the forms that can come back, in the order of their texts.
    sorted: Vec<usize>,
}

/// How one value may look.
pub(super) struct Form {
    pub(super) name: String,
    /// Which of its value's forms it is.
    pub(super) number: u32,
    /// Whether the value is to be had again by that name; of what was got with a secret, or made of it, it is not.
    pub(super) comes_back: bool,
    pub(super) text: String,
    /// What follows of a longer one: it is not looked for.
    rest: String,
}

/// How much of which form is at the beginning of some bytes.
pub(super) struct Most {
    /// The number of the form of which most is.
    pub(super) form: usize,
    /// So many bytes.
    pub(super) bytes: usize,
    /// The forms that may go on where the bytes end.
    pub(super) open: Vec<usize>,
}

impl Search {
    /// For these names and values, of secrets and of what was got with them; `None`: nothing is looked for.
    pub(super) fn new<'a>(
        secrets: impl Iterator<Item = (&'a String, &'a Secret)>,
        others: impl Iterator<Item = (&'a String, &'a Secret)>,
    ) -> Option<Search> {
        let mut all: Vec<Form> = secrets
            .flat_map(|(name, value)| forms(name, value))
            .collect();
        let mut sorted: Vec<usize> = (0..all.len()).collect();
        let text = |number: &usize| all[*number].text.as_bytes();
        sorted.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        // Behind the secrets: of two that are spelt alike the first is found.
        all.extend(
            others
                .flat_map(|(name, value)| forms(name, value))
                .map(|form| Form {
                    comes_back: false,
                    ..form
                }),
        );
        if all.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(all.iter().map(|form| &form.text))
            .ok()?;
        Some(Search {
            finder,
            forms: all,
            sorted,
        })
    }

    /// The name of a secret in a text.
    pub(super) fn find(&self, text: &str) -> Option<&str> {
        let plain = self.finder.find(text);
        let found = plain.or_else(|| {
            let mut text = text.to_owned();
            (0..LEVELS).find_map(|_| {
                if !text.contains('\\') {
                    return None;
                }
                text = unescaped(&text);
                self.finder.find(&text)
            })
        })?;
        let form = self.forms.get(found.pattern().as_usize())?;
        Some(&form.name)
    }

    /// The text with names in the place of values.
    pub(super) fn hide(&self, text: &str) -> String {
        let (mut hidden, mut whole) = (String::with_capacity(text.len()), None);
        self.finder
            .replace_all_with(text, &mut hidden, |found, _, to| {
                if let Some(form) = self.forms.get(found.pattern().as_usize()) {
                    to.push_str(&format!("[secret {}]", form.name));
                    if !form.rest.is_empty() {
                        whole = Some(form.name.as_str());
                    }
                }
                true
            });
        // Spelt otherwise, or only begun: where it ends in this text nobody can say.
        match whole.or_else(|| self.find(&hidden)) {
            Some(name) => format!("[a text with secret {name}]"),
            None => self.without_beginning(hidden),
        }
    }

    /// The next value in bytes, from this place on: where it is, and the number of its form.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
        let found = self.finder.find(Input::new(bytes).range(from..))?;
        Some((found.range(), found.pattern().as_usize()))
    }

    /// The form of this number.
    pub(super) fn form(&self, number: usize) -> &Form {
        &self.forms[number]
    }

    /// Forms that begin like this one, as far as they are looked for.
    pub(super) fn alike(&self, number: usize) -> Vec<usize> {
        let found = &self.forms[number];
        // No character has more than four bytes: nothing of it was cut off.
        if found.text.len() + 4 <= FORM_BYTES_MAX {
            return vec![number];
        }
        let same = |other: &usize| {
            let other = &self.forms[*other];
            other.text == found.text && other.comes_back == found.comes_back
        };
        (0..self.forms.len()).filter(same).collect()
    }

    /// How much of these forms is at the beginning of `bytes`, from the byte of number `from` on that
    /// is behind what is looked for.
    pub(super) fn most(&self, forms: &[usize], from: usize, bytes: &[u8]) -> Option<Most> {
        let mut most = Most {
            form: *forms.first()?,
            bytes: 0,
            open: Vec::new(),
        };
        for &form in forms {
            let rest = self.forms[form].rest.as_bytes();
            let rest = rest.get(from..).unwrap_or_default();
            let both = rest.iter().zip(bytes);
            let there = both.take_while(|(one, other)| one == other).count();
            if there > most.bytes {
                (most.form, most.bytes) = (form, there);
            }
            if there == bytes.len() && there < rest.len() {
                most.open.push(form);
            }
        }
        Some(most)
    }

    /// Where the longest beginning of a value starts with which bytes end, and the number of its form. A whole
    /// text is none, unless a longer one begins with it.
    pub(super) fn begun(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let from = bytes.len().saturating_sub(FORM_BYTES_MAX - 1);
        (from..bytes.len()).find_map(|start| {
            let end = &bytes[start..];
            let text = |number: &usize| self.forms[*number].text.as_bytes();
            // The first text behind it: if any begins with it, then this one.
            let at = self.sorted.partition_point(|number| text(number) <= end);
            let number = self.sorted.get(at)?;
            text(number).starts_with(end).then_some((start, *number))
        })
    }

    /// A text that was cut may end with the beginning of a value.
    fn without_beginning(&self, mut text: String) -> String {
        for form in &self.forms {
            let from = text.floor_char_boundary(text.len().saturating_sub(form.text.len()));
            let (tail, begin) = (&text[from..], form.text.floor_char_boundary(FORM_BYTES_MIN));
            let starts = tail.match_indices(&form.text[..begin]).map(|(at, _)| at);
            let at = starts
                .map(|at| from + at)
                .find(|at| form.text.starts_with(&text[*at..]));
            if let Some(at) = at {
                text.truncate(at);
                text.push_str(&format!("[secret {}]", form.name));
            }
        }
        text
    }
}

impl Form {
    /// Some of its bytes.
    pub(super) fn bytes(&self, from: usize, bytes: usize) -> Option<impl Iterator<Item = u8>> {
        let all = self.text.len() + self.rest.len();
        let fits = from.checked_add(bytes).is_some_and(|end| end <= all);
        let both = self.text.bytes().chain(self.rest.bytes());
        fits.then(|| both.skip(from).take(bytes))
    }
}

/// How a value may look in text: as it is, as JSON writes it, and in base 64; of one with several lines,
/// each line. Their order is part of what records of answers say.
pub(super) fn forms(name: &str, value: &Secret) -> Vec<Form> {
    let mut texts = vec![
        STANDARD.encode(value.bytes()),
        URL_SAFE.encode(value.bytes()),
    ];
    if let Ok(text) = std::str::from_utf8(value.bytes()) {
        texts.push(STANDARD.encode(text.trim()));
        texts.extend([text.to_owned(), text.trim().to_owned()]);
        texts.extend(
            text.lines()
                .take(LINES_MAX)
                .map(|line| line.trim().to_owned()),
        );
        let looked_for = texts.iter().filter(|text| text.len() >= FORM_BYTES_MIN);
        let quoted: Vec<String> = looked_for.map(|text| within_json(text)).collect();
        texts.extend(quoted);
    }
    texts.retain(|text| text.len() >= FORM_BYTES_MIN);
    texts.sort_unstable();
    texts.dedup();
    let form = |(number, mut text): (u32, String)| {
        let rest = text.split_off(text.floor_char_boundary(FORM_BYTES_MAX));
        Form {
            name: name.to_owned(),
            number,
            comes_back: true,
            text,
            rest,
        }
    };
    (0..).zip(texts).map(form).collect()
}

/// A text as most write it within a string of JSON.
fn within_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A text as JSON means it within a string: every escape as the character that it stands for.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else {
            break;
        };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let unit = |text: &str| {
                    let digits = text.get(..4)?;
                    u16::from_str_radix(digits, 16).ok()
                };
                let first = unit(rest);
                let second = rest
                    .get(4..)
                    .and_then(|r| r.strip_prefix("\\u"))
                    .and_then(unit);
                let pair = first.zip(second).and_then(|(a, b)| {
                    char::decode_utf16([a, b])
                        .next()
                        .and_then(Result::ok)
                        .filter(|c| c.len_utf16() == 2)
                });
                match (pair, first.and_then(|unit| char::from_u32(unit.into()))) {
                    (Some(c), _) => {
                        out.push(c);
                        rest = &rest[10..];
                    }
                    (None, Some(c)) => {
                        out.push(c);
                        rest = &rest[4..];
                    }
                    (None, None) => out.push('u'),
                }
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}
