//! Where in an expression the parser stopped: it does not say so itself.
//!
//! Refuses to parse more than some dozen times: the shortest beginning with the same fault is
//! found by halving.

use jsonata_core::parser::{self, ParserError};

use crate::document::{At, Tree};

/// The character of the string at `at` where reading `source`, which stands in it, stopped.
pub(super) fn of(at: &At<'_, '_>, source: &str, error: &ParserError) -> Option<usize> {
    let Tree::Text(text) = &at.node.tree else {
        return None;
    };
    let before = text.get(..text.find(source)?)?.chars().count();
    Some(before + stopped(source, error))
}

/// How many characters stand before the word at which reading stopped.
fn stopped(source: &str, error: &ParserError) -> usize {
    let all = source.chars().count();
    let message = error.display_message();
    if message.ends_with("end of expression") {
        return all;
    }
    let ends: Vec<usize> = source
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .collect();
    // A beginning that is cut before the fault has another one, at its end, or none.
    let shortest = ends.partition_point(|end| {
        let begin = source.get(..*end).unwrap_or_default();
        !parser::parse(begin).is_err_and(|e| e.display_message() == message)
    });
    let begin = source.get(..ends.get(shortest).copied().unwrap_or(source.len()));
    let begin = begin.unwrap_or(source);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let rest = begin.trim_end_matches(word);
    let rest = if rest.len() == begin.len() {
        let last = begin.chars().next_back().map_or(0, char::len_utf8);
        begin.get(..begin.len() - last).unwrap_or_default()
    } else {
        rest.strip_suffix('$').unwrap_or(rest)
    };
    rest.chars().count()
}

#[cfg(test)]
mod tests {
    use super::stopped;
    use jsonata_core::parser::parse;

    #[track_caller]
    fn check(source: &str, before: &str) {
        let error = parse(source).expect_err(source);
        let got: String = source.chars().take(stopped(source, &error)).collect();
        assert_eq!(got, before, "{source}: {error}");
    }

    #[test]
    fn where_reading_stops() {
        check("1 + ) + 2", "1 + ");
        check("$states.input.a b", "$states.input.a ");
        check("$sum(1", "$sum(1");
        check("é & [1, 2", "é & [1, 2");
        check("{'a': 1,, 'b': 2}", "{'a': 1,");
        check("a ? b : ", "a ? b : ");
    }
}
