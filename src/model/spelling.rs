//! Which known word was meant: for advice beside an unknown one.

/// The known word nearest to a mistyped one, where one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if typed.len() > 64 {
        return None;
    }
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    known.map(|name| (distance(typed, name), name)).filter(|(d, _)| *d <= limit).min().map(|(_, name)| name)
}

/// Edit distance where two swapped neighbours count once; case does not count.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitute = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitute.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
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
    use super::*;

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let known = ["version", "name", "tags", "packagingVersion"];
        let find = |typed| nearest(typed, known.into_iter());
        assert_eq!(find("versoin"), Some("version"));
        assert_eq!(find("Tags"), Some("tags"));
        assert_eq!(find("packageVersion"), Some("packagingVersion"));
        assert_eq!(find("color"), None);
        assert_eq!(find(&"x".repeat(100_000)), None);
    }
}
