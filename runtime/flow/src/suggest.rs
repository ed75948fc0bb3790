//! "Did you mean": the nearest of a few known names.

/// The candidate nearest to `wrong`, if it is near enough to be a slip.
///
/// Takes a microsecond or so for a candidate of about its length: give it some thousand at most.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names are not slips of known ones, and would cost time.
    if wrong.is_empty() || wrong.len() > 80 {
        return None;
    }
    let length = wrong.chars().count();
    // Of one letter anything is near.
    let budget = if length < 2 { 0 } else { 1 + length / 4 };
    // Names that differ in length by more are farther away than that.
    let near = |c: &&str| c.len() <= 100 && c.chars().count().abs_diff(length) <= budget;
    candidates
        .into_iter()
        .filter(near)
        .map(|c| (distance(wrong, c), c))
        .filter(|(d, c)| *d <= budget || c.eq_ignore_ascii_case(wrong))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// `did you mean "…"?` for the nearest candidate.
pub(crate) fn hint<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, candidates).map(|c| format!("did you mean {c:?}?"))
}

/// Edit distance with swaps of neighbours; letter case alone costs nothing much.
fn distance(a: &str, b: &str) -> usize {
    if a.eq_ignore_ascii_case(b) {
        return usize::from(a != b);
    }
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let width = b.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(width);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = usize::from(x != y);
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + cost);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

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
}
