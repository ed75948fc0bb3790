//! Looks for values of secrets in texts: as they are, in base 64, and within JSON however it is spelt.
//!
//! Refuses nothing: it finds, and puts a name in a value's place, for good or so that the value can come
//! back. A net, not a wall: a value in other words is not found.

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
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
}

struct Form {
    name: String,
    /// Which of its value's forms it is.
    number: u32,
    text: String,
    /// What follows of a longer one: it is not looked for.
    rest: String,
}

/// Bytes from which values were taken out, and where these were.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Masked {
    bytes: Vec<u8>,
    /// The secrets whose values these were. A short value may have stood a million times.
    names: Vec<String>,
    gaps: Vec<Gap>,
}

/// A value's place.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gap {
    /// So many of the other bytes come before it.
    at: u32,
    /// Which of the names is its secret's.
    name: u32,
    /// Which of its value's forms was there.
    number: u32,
    /// So many bytes of it were there behind those that are looked for.
    rest: u32,
}

impl Search {
    /// For these names and values; `None`: nothing is looked for.
    pub(super) fn new<'a>(all: impl Iterator<Item = (&'a String, &'a Secret)>) -> Option<Search> {
        let forms: Vec<Form> = all.flat_map(|(name, value)| forms(name, value)).collect();
        if forms.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.iter().map(|form| &form.text))
            .ok()?;
        Some(Search { finder, forms })
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

    /// Bytes without values, which [`Masked::unmasked`] puts back. `None`: there are none in them.
    pub(super) fn masked(&self, bytes: &[u8]) -> Option<Masked> {
        let mut masked = Masked::default();
        let mut from = 0;
        // Each time behind all of the last one: a long one may have others within.
        while let Some(found) = self.finder.find(Input::new(bytes).range(from..))
            && let Some(form) = self.forms.get(found.pattern().as_usize())
        {
            masked.bytes.extend_from_slice(&bytes[from..found.start()]);
            let (form, rest) = self.longest(form, &bytes[found.end()..]);
            let at = u32::try_from(masked.bytes.len()).ok()?;
            let name = masked.name(&form.name)?;
            masked.gaps.push(Gap {
                at,
                name,
                number: form.number,
                rest: u32::try_from(rest).ok()?,
            });
            from = found.end() + rest;
        }
        if masked.gaps.is_empty() {
            return None;
        }
        masked.bytes.extend_from_slice(&bytes[from..]);
        Some(masked)
    }

    /// Long forms that begin alike are found as one of them: that of which most is there, and how many
    /// bytes behind those that are looked for.
    fn longest<'a>(&'a self, found: &'a Form, behind: &[u8]) -> (&'a Form, usize) {
        // No character has more than four bytes: nothing of it was cut off.
        if found.text.len() + 4 <= FORM_BYTES_MAX {
            return (found, 0);
        }
        let there = |form: &Form| {
            let both = form.rest.bytes().zip(behind);
            both.take_while(|(one, other)| one == *other).count()
        };
        let alike = self.forms.iter().filter(|form| form.text == found.text);
        let all = alike.map(|form| (form, there(form)));
        all.max_by_key(|(_, rest)| *rest).unwrap_or((found, 0))
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

impl Masked {
    /// The number of a secret's name.
    fn name(&mut self, name: &str) -> Option<u32> {
        let known = self.names.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        u32::try_from(number).ok()
    }

    /// The bytes as they were, with values by their names. `None`: these are not the values.
    /// # Errors
    /// That of a value which is not to be had.
    pub(super) fn unmasked<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Secret, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let mut values = Vec::new();
        for name in &self.names {
            values.push(forms(name, &value(name)?));
        }
        let (mut bytes, mut from) = (Vec::with_capacity(self.bytes.len()), 0);
        for gap in &self.gaps {
            let forms = values.get(gap.name as usize);
            let form = forms.and_then(|all| all.iter().find(|form| form.number == gap.number));
            let rest = form.and_then(|form| form.rest.as_bytes().get(..gap.rest as usize));
            let before = self.bytes.get(from..gap.at as usize);
            let (Some(form), Some(rest), Some(before)) = (form, rest, before) else {
                return Ok(None);
            };
            bytes.extend_from_slice(before);
            bytes.extend_from_slice(form.text.as_bytes());
            bytes.extend_from_slice(rest);
            from = gap.at as usize;
        }
        bytes.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        Ok(Some(bytes))
    }
}

/// How a value may look in text: as it is, as JSON writes it, and in base 64; of one with several lines,
/// each line. Their order is part of what [`Masked`] says.
fn forms(name: &str, value: &Secret) -> Vec<Form> {
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
