//! Values within one piece of an answer, and over several.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn search<const N: usize>(values: [(&str, &str); N]) -> Arc<Search> {
    let all = values.map(|(name, value)| {
        let value = Secret::new(value.as_bytes().to_vec());
        (name.to_owned(), value)
    });
    let secrets = all.iter().map(|(name, value)| (name, value));
    Arc::new(Search::new(secrets, std::iter::empty()).expect("something is looked for"))
}

/// What is recorded of a stream that comes in these pieces: all that is no value. It is checked that
/// each piece comes back.
fn recorded(values: &[(&str, &str)], search: &Arc<Search>, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut seam, mut left) = (Seam::default(), Vec::new());
    for piece in pieces {
        // As a record has it: behind what says of which kind it is.
        let record = [b"\x01\x02", *piece].concat();
        let masked = Masked::of(search, &record, piece.len(), &mut seam).expect("it comes back");
        assert!(seam.tail.len() < 256, "{}", seam.tail.len());
        let Some(masked) = masked else {
            left.extend_from_slice(piece);
            continue;
        };
        left.extend_from_slice(&masked.bytes[2..]);
        let value = |name: &str| {
            let found = values.iter().find(|(known, _)| *known == name);
            let value = found.expect("a known name").1;
            Ok::<_, Infallible>(Secret::new(value.as_bytes().to_vec()))
        };
        assert_eq!(masked.unmasked(value), Ok(Some(record)));
    }
    left
}

#[test]
fn a_value_that_comes_in_pieces_is_in_none_of_them() {
    let lines = "-----BEGIN-----\nsome letters\nmore letters\n-----END-----\n";
    let long = format!("{}\"?>?>?>\n", "0123456789abcdef".repeat(30));
    for value in ["correct horse", lines, &long] {
        let values = [("a", value)];
        let search = search(values);
        let quoted = serde_json::Value::from(value).to_string();
        for spelt in [value, &quoted[1..quoted.len() - 1]] {
            let whole = format!("<<{spelt}>~<{spelt}>>");
            let whole = whole.as_bytes();
            let check = |pieces: &[&[u8]]| {
                let left = recorded(&values, &search, pieces);
                let left = String::from_utf8_lossy(&left);
                assert_eq!(
                    left,
                    "<<>~<>>",
                    "{:?}",
                    pieces.iter().map(|p| p.len()).collect::<Vec<_>>()
                );
            };
            // All cuts in two, some in three, and byte by byte.
            for cut in 0..=whole.len() {
                let (one, other) = whole.split_at(cut);
                check(&[one, other]);
                for again in [1, 7, 256, 300] {
                    let (next, last) = other.split_at(again.min(other.len()));
                    check(&[one, next, &[], last]);
                }
            }
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            check(&bytes);
        }
    }
}

#[test]
fn what_only_begins_like_a_value_hides_nothing_behind_it() {
    let values = [("a", "abcdef"), ("b", "abcdefgh"), ("c", "xxabcdefyy")];
    let search = search(values);
    let check = |pieces: &[&str], expected: &str| {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let left = recorded(&values, &search, &pieces);
        assert_eq!(String::from_utf8_lossy(&left), expected, "{pieces:?}");
    };
    // What may be the beginning of a value is left out of the piece that it ends, and comes back.
    check(&["<abc", "abc>"], "<abc>");
    check(&["<abcdef", "gh>"], "<>");
    check(&["<abcdef", "gg>"], "<gg>");
    check(&["<xxabcdef", "yy>"], "<>");
    check(&["<xxabcdef", "zz>"], "<zz>");
    check(&["<xxabc", "def", "gh>"], "<>");
    check(&["<abc", "abcdef>"], "<>");
    check(&["<ab", "cd", "ef", "g", "h", "abcdefgh>"], "<>");
}

#[test]
fn what_would_not_come_back_is_no_record() {
    let token = Secret::new(b"got for it".to_vec());
    let others = [("a".to_owned(), token)];
    let others = || others.iter().map(|(name, value)| (name, value));
    let alone = Search::new(std::iter::empty(), others()).expect("it is looked for");
    let of = |search: Search, record: &[u8]| {
        let masked = Masked::of(&Arc::new(search), record, 0, &mut Seam::default());
        masked.map(|masked| masked.is_some())
    };
    assert_eq!(of(alone, b"\x01 got for it"), Err(Lost("a".to_owned())));
    // Where it is the secret itself, that comes back.
    let secret = ("a".to_owned(), Secret::new(b"got for it".to_vec()));
    let both = || Search::new([(&secret.0, &secret.1)].into_iter(), others());
    assert_eq!(
        of(both().expect("looked for"), b"\x01 got for it"),
        Ok(true)
    );
    assert_eq!(of(both().expect("looked for"), b"\x01 got"), Ok(false));
}

proptest! {
    /// However values lie in one another, and wherever a stream is cut, each piece comes back.
    #[test]
    fn every_piece_comes_back(
        text in "[abc]{0,200}",
        cuts in prop::collection::vec(0usize..200, 0..12),
    ) {
        let values = [("a", "abcabc"), ("b", "bcabcab\nabcabcc"), ("c", "aaaaaaaa")];
        let search = search(values);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
        let left = recorded(&values, &search, &pieces);
        let whole = recorded(&values, &search, &[text.as_bytes()]);
        // What a piece ends with may be left out although nothing came of it; nothing is there that the
        // whole would not have.
        prop_assert!(left.len() <= whole.len());
    }
}
