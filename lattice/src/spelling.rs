//! Which of the names that are known somebody meant who wrote another.

/// The `count` of `known` that `text` is most like, whether it is a misspelling of them or not; the most alike first.
pub fn alike<'a>(text: &str, known: &[&'a str], count: usize) -> Vec<&'a str> {
    let text: String = text.chars().take(MAX_CHARS).collect();
    let mut known = known.to_vec();
    known.sort_by_cached_key(|name| distance(&text, name));
    known.truncate(count);
    known
}

/// The one of `known` that `text` is a misspelling of, if there is one.
pub fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().filter(|name| is_near(text, name));
    near.min_by_key(|name| distance(text, name)).copied()
}

/// More of a text is not looked at, which would take time.
const MAX_CHARS: usize = 64;

fn is_near(text: &str, name: &str) -> bool {
    // Far longer texts are no misspellings, and would take time.
    text.len() <= 2 * name.len() + 2 && distance(text, name) <= (name.len() / 3).clamp(1, 3)
}

/// How many letters to add, remove, change or swap with their neighbour to get from one to the other; upper and lower
/// case, `-` and `_` are the same.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (letters(a), letters(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{alike, nearest};

    #[test]
    fn a_misspelling_is_recognised() {
        let known = ["instances", "spread", "name"];
        for (text, expected) in [
            ("instnaces", Some("instances")),
            ("Instances", Some("instances")),
            ("spred", Some("spread")),
            ("nam", Some("name")),
            ("mane", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &known), expected, "{text}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }

    #[test]
    fn the_most_alike_come_first() {
        let known = ["bucket", "timeout", "ttl", "url"];
        assert_eq!(alike("ttll", &known, 2), ["ttl", "url"]);
        assert_eq!(alike("time-out", &known, 1), ["timeout"]);
        assert_eq!(alike(&"x".repeat(100_000), &known, 9).len(), 4);
    }
}
