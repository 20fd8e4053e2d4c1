//! Which link a request belongs to: pure matching of host and path, the most special pattern first.

use std::collections::HashMap;
use std::fmt;

/// Which requests belong to a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// A host in lower case, `*.` and a host, or none for all.
    pub(crate) host: Option<String>,
    /// A prefix of whole segments: `/api` is for `/api` and `/api/x`, not for `/apix`.
    pub(crate) path: String,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host.as_deref().unwrap_or("*"), self.path)
    }
}

/// A snapshot of all patterns of a listener. Matching allocates only for a host in upper case.
pub(crate) struct Table<T> {
    exact: HashMap<String, Paths<T>>,
    /// Without the `*`, longest first.
    suffixes: Vec<(String, Paths<T>)>,
    any: Paths<T>,
}

/// Longest first.
type Paths<T> = Vec<(String, T)>;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), suffixes: Vec::new(), any: Vec::new() }
    }
}

impl<T> Table<T> {
    /// A table of patterns, no two of them equal.
    pub(crate) fn new(patterns: impl IntoIterator<Item = (Pattern, T)>) -> Self {
        let mut table = Self::default();
        let mut suffixes: HashMap<String, Paths<T>> = HashMap::new();
        for (Pattern { host, path }, target) in patterns {
            let paths = match host {
                None => &mut table.any,
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => suffixes.entry(suffix.to_owned()).or_default(),
                    None => table.exact.entry(host).or_default(),
                },
            };
            paths.push((path, target));
        }
        table.suffixes = suffixes.into_iter().collect();
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let all = table.exact.values_mut().chain(table.suffixes.iter_mut().map(|(_, paths)| paths));
        for paths in all.chain([&mut table.any]) {
            paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        table
    }

    /// The target of the most special pattern: an exact host before `*.` before none, then the longest path.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&T> {
        if !self.exact.is_empty() || !self.suffixes.is_empty() {
            let name = host_name(host);
            let found = match name.bytes().any(|b| b.is_ascii_uppercase()) {
                true => self.find_by_host(&name.to_ascii_lowercase(), path),
                false => self.find_by_host(name, path),
            };
            if found.is_some() {
                return found;
            }
        }
        find_path(&self.any, path)
    }

    fn find_by_host(&self, name: &str, path: &str) -> Option<&T> {
        let exact = self.exact.get(name).and_then(|paths| find_path(paths, path));
        exact.or_else(|| {
            let suffixes = self.suffixes.iter().filter(|(suffix, _)| name.len() > suffix.len());
            suffixes.filter(|(suffix, _)| name.ends_with(suffix.as_str())).find_map(|(_, paths)| find_path(paths, path))
        })
    }
}

fn find_path<'a, T>(paths: &'a Paths<T>, path: &str) -> Option<&'a T> {
    let found = paths.iter().find(|(prefix, _)| match path.strip_prefix(prefix.as_str()) {
        Some(rest) => prefix == "/" || rest.is_empty() || rest.starts_with('/'),
        None => prefix == "/",
    });
    found.map(|(_, target)| target)
}

/// `example.com` of `example.com.:8080`, `[::1]` of `[::1]:80`.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Table};

    fn check(patterns: &[&'static str], host: &str, path: &str, expected: Option<&str>) {
        let parse = |&text: &&'static str| {
            let slash = text.find('/').expect("a path");
            let host = (slash > 0).then(|| text[..slash].to_owned());
            (Pattern { host, path: text[slash..].to_owned() }, text)
        };
        let table = Table::new(patterns.iter().map(parse));
        assert_eq!(table.find(host, path).copied(), expected, "{host}{path} in {patterns:?}");
    }

    #[test]
    fn the_longest_path_of_whole_segments_wins() {
        let patterns = ["/", "/api", "/api/v2"];
        check(&patterns, "h", "/api/v2/x", Some("/api/v2"));
        check(&patterns, "h", "/api/v2", Some("/api/v2"));
        check(&patterns, "h", "/api/v20", Some("/api"));
        check(&patterns, "h", "/apix", Some("/"));
        check(&patterns, "h", "*", Some("/"));
        check(&["/api"], "h", "/", None);
        check(&[], "h", "/", None);
    }

    #[test]
    fn the_most_special_host_wins() {
        let patterns = ["/", "example.com/", "*.example.com/", "*.b.example.com/", "*.example.com/deep"];
        check(&patterns, "example.com", "/", Some("example.com/"));
        check(&patterns, "EXAMPLE.com:8080", "/", Some("example.com/"));
        check(&patterns, "example.com.", "/", Some("example.com/"));
        check(&patterns, "a.example.com", "/", Some("*.example.com/"));
        check(&patterns, "a.example.com", "/deep/er", Some("*.example.com/deep"));
        check(&patterns, "a.b.example.com", "/deep", Some("*.b.example.com/"));
        check(&patterns, ".example.com", "/", Some("/"));
        check(&patterns, "badexample.com", "/", Some("/"));
        check(&patterns, "[::1]:80", "/", Some("/"));
    }

    #[test]
    fn a_host_without_the_path_leaves_it_to_the_next() {
        check(&["example.com/api", "*.com/"], "example.com", "/other", Some("*.com/"));
        check(&["example.com/api", "/"], "example.com", "/other", Some("/"));
    }
}
