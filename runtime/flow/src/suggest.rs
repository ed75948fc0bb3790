//! "Did you mean": the nearest of a few known names.

/// Pairs of letters that are compared for one question: about a millisecond. Whoever asks may do so
/// thousands of times, and the names may be long.
const PAIRS_MAX: usize = 200_000;

/// The candidate nearest to `wrong`, if it is near enough to be a slip.
///
/// Takes about a millisecond at most: of very many candidates the last are not looked at.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    counted(wrong, candidates).0
}

/// The same, and how many pairs of letters were compared.
fn counted<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> (Option<&'a str>, usize) {
    let mut scale = Scale::default();
    // Longer names are not slips of known ones, and would cost time.
    if wrong.is_empty() || wrong.len() > 80 {
        return (None, 0);
    }
    let letters: Vec<char> = wrong.chars().collect();
    // Of one letter anything is near.
    let budget = if letters.len() < 2 {
        0
    } else {
        1 + letters.len() / 4
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if scale.pairs >= PAIRS_MAX {
            break;
        }
        // Names that differ in length by more are farther away than that.
        let length = candidate.len().min(101);
        let near = length <= 100 && candidate.chars().count().abs_diff(letters.len()) <= budget;
        if !near {
            continue;
        }
        let distance = match wrong.eq_ignore_ascii_case(candidate) {
            true => Some(usize::from(wrong != candidate)),
            false => scale.distance(&letters, candidate, budget),
        };
        if let Some(distance) = distance
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, candidate));
        }
    }
    (best.map(|(_, candidate)| candidate), scale.pairs)
}

/// `did you mean "…"?` for the nearest candidate.
pub(crate) fn hint<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, candidates).map(|c| format!("did you mean {c:?}?"))
}

/// Measures edit distances with swaps of neighbours, in rows that are used again.
#[derive(Default)]
struct Scale {
    letters: Vec<char>,
    rows: [Vec<usize>; 3],
    /// Pairs of letters compared so far.
    pairs: usize,
}

impl Scale {
    /// How far `b` is from `a`; `None`: farther than `budget`. What is off the diagonal by more than
    /// that cannot be on the way, and is not looked at.
    fn distance(&mut self, a: &[char], b: &str, budget: usize) -> Option<usize> {
        self.letters.clear();
        self.letters.extend(b.chars());
        let b = &self.letters;
        let far = budget + 1;
        let [before_last, last, row] = &mut self.rows;
        for cells in [&mut *before_last, &mut *last, &mut *row] {
            cells.clear();
            cells.resize(b.len() + 1, far);
        }
        for (j, cell) in last.iter_mut().enumerate() {
            *cell = j.min(far);
        }
        let mut least_before = 0;
        for (i, x) in a.iter().enumerate() {
            row.fill(far);
            if let Some(first) = row.first_mut() {
                *first = (i + 1).min(far);
            }
            let mut least = (i + 1).min(far);
            let from = (i + 1).saturating_sub(budget).max(1);
            for j in from..=(i + 1 + budget).min(b.len()) {
                self.pairs += 1;
                let y = &b[j - 1];
                let cost = usize::from(x != y);
                let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
                if i > 0 && j > 1 && *x == b[j - 2] && a[i - 1] == *y {
                    best = best.min(before_last[j - 2] + 1);
                }
                row[j] = best.min(far);
                least = least.min(row[j]);
            }
            // A swap looks two rows back.
            if least > budget && least_before >= budget {
                return None;
            }
            least_before = least;
            std::mem::swap(before_last, last);
            std::mem::swap(last, row);
        }
        last.last().copied().filter(|distance| *distance <= budget)
    }
}

#[cfg(test)]
mod tests {
    use super::{PAIRS_MAX, counted, nearest};

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let check = |wrong, expected| {
            assert_eq!(
                nearest(wrong, ["ResultPath", "Resource", "Retry", "Next"]),
                expected,
                "{wrong}"
            );
        };
        check("ReslutPath", Some("ResultPath"));
        check("resource", Some("Resource"));
        check("Nxt", Some("Next"));
        check("Zebra", None);
        assert_eq!(nearest("B", ["A"]), None);
        assert_eq!(nearest("b", ["A", "B"]), Some("B"));
        check("", None);
    }

    #[test]
    fn swaps_and_ends_count_once() {
        let check = |wrong, candidate, near: bool| {
            assert_eq!(
                nearest(wrong, [candidate]).is_some(),
                near,
                "{wrong} {candidate}"
            );
        };
        check("abcd", "badc", true);
        check("abcd", "xyzd", false);
        check("abcdefgh", "abcdefghxyz", true);
        check("abcdefgh", "abcdefghwxyz", false);
        check("abcdefgh", "xyzabcdefgh", true);
        check("a", "ab", false);
        check("ab", "abc", true);
    }

    #[test]
    fn thousands_of_long_names_cost_no_more_than_a_bound() {
        let names: Vec<String> = (0..2_000).map(|n| format!("{n:x>76}")).collect();
        let names = || names.iter().map(String::as_str);
        let (near, pairs) = counted(&"x".repeat(76), names());
        assert!(near.is_some());
        assert!(pairs < PAIRS_MAX + 80 * 80, "{pairs}");
        // Strangers are passed over early: all of them are looked at.
        let strangers = names().chain(["yyyyyyyyyyyyyyyyyyyz"]);
        assert_eq!(
            nearest("yyyyyyyyyyyyyyyyyyyy", strangers),
            Some("yyyyyyyyyyyyyyyyyyyz")
        );
    }
}
