//! Which link a request belongs to: pure matching of host, path, method and headers, the most special pattern first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use http::{HeaderMap, Method};

use crate::filter::Filter;

/// Which requests belong to a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// A host in lower case, `*.` and a host, or none for all.
    pub(crate) host: Option<String>,
    /// A prefix of whole segments: `/api` is for `/api` and `/api/x`, not for `/apix`. A segment `*` is any one.
    pub(crate) path: String,
    /// What else a request needs.
    pub(crate) filter: Filter,
}

impl Pattern {
    /// Of two for the same host that both fit a request, the smaller one is the more special one: that with more
    /// segments, then that whose first wildcard comes later, then that which needs more.
    fn rank(&self) -> impl Ord + use<> {
        let segments: Vec<bool> = segments(&self.path).map(|segment| segment == "*").collect();
        (Reverse(segments.len()), segments, Reverse(self.filter.speciality()))
    }

    fn fits_path(&self, path: &str) -> bool {
        if self.path.contains('*') {
            let mut given = segments(path);
            return segments(&self.path).all(|wanted| {
                given.next().is_some_and(|given| wanted == given || (wanted == "*" && !given.is_empty()))
            });
        }
        match path.strip_prefix(self.path.as_str()) {
            Some(rest) => self.path == "/" || rest.is_empty() || rest.starts_with('/'),
            None => self.path == "/",
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    (!path.is_empty()).then(|| path.split('/')).into_iter().flatten()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.host.as_deref().unwrap_or("*"), self.path, self.filter)
    }
}

/// A snapshot of all patterns of a listener. Matching allocates only for a host in upper case.
pub(crate) struct Table<T> {
    exact: HashMap<String, Paths<T>>,
    /// Without the `*`, longest first.
    suffixes: Vec<(String, Paths<T>)>,
    any: Paths<T>,
}

/// The most special first.
type Paths<T> = Vec<(Pattern, T)>;

/// What a request is matched by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// What a table says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a, T> {
    /// Whose it is.
    Target(&'a T),
    /// It would be somebody's with one of these methods.
    OtherMethods(Vec<&'a Method>),
    /// It is nobody's.
    Nothing,
}

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
        for (pattern, target) in patterns {
            let paths = match pattern.host.clone() {
                None => &mut table.any,
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => suffixes.entry(suffix.to_owned()).or_default(),
                    None => table.exact.entry(host).or_default(),
                },
            };
            paths.push((pattern, target));
        }
        table.suffixes = suffixes.into_iter().collect();
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let all = table.exact.values_mut().chain(table.suffixes.iter_mut().map(|(_, paths)| paths));
        for paths in all.chain([&mut table.any]) {
            paths.sort_by_cached_key(|(pattern, _)| pattern.rank());
        }
        table
    }

    /// Whether there is no pattern at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.any.is_empty()
    }

    /// The targets of all patterns.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &T> {
        let hosts = self.exact.values().chain(self.suffixes.iter().map(|(_, paths)| paths));
        hosts.chain([&self.any]).flatten().map(|(_, target)| target)
    }

    /// The target of the most special pattern: an exact host before `*.` before none, then the most special path.
    pub(crate) fn find(&self, asked: Asked<'_>) -> Found<'_, T> {
        let mut methods = Vec::new();
        let mut found = None;
        if !self.exact.is_empty() || !self.suffixes.is_empty() {
            let name = host_name(asked.host);
            found = match name.bytes().any(|b| b.is_ascii_uppercase()) {
                true => self.find_by_host(&name.to_ascii_lowercase(), asked, &mut methods),
                false => self.find_by_host(name, asked, &mut methods),
            };
        }
        match found.or_else(|| find_path(&self.any, asked, &mut methods)) {
            Some(target) => Found::Target(target),
            None if methods.is_empty() => Found::Nothing,
            None => Found::OtherMethods(methods),
        }
    }

    fn find_by_host<'a>(&'a self, name: &str, asked: Asked<'_>, methods: &mut Vec<&'a Method>) -> Option<&'a T> {
        let exact = self.exact.get(name).and_then(|paths| find_path(paths, asked, methods));
        exact.or_else(|| {
            let suffixes = self.suffixes.iter().filter(|(suffix, _)| name.len() > suffix.len());
            let mut suffixes = suffixes.filter(|(suffix, _)| name.ends_with(suffix.as_str()));
            suffixes.find_map(|(_, paths)| find_path(paths, asked, methods))
        })
    }
}

/// Notes the methods of those that fit but for the method.
fn find_path<'a, T>(paths: &'a Paths<T>, asked: Asked<'_>, methods: &mut Vec<&'a Method>) -> Option<&'a T> {
    let fitting =
        paths.iter().filter(|(pattern, _)| pattern.fits_path(asked.path) && pattern.filter.fits(asked.headers));
    for (Pattern { filter, .. }, target) in fitting {
        if filter.takes(asked.method) {
            return Some(target);
        }
        methods.extend(filter.methods());
    }
    None
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
    use super::{Asked, Found, Pattern, Table};
    use crate::filter::Filter;
    use http::{HeaderMap, Method};
    use trellis_provider_sdk::testing::config;

    /// `host/path`, then `methods=…` and `headers=…` if there are any.
    fn parse(text: &'static str) -> (Pattern, &'static str) {
        let mut words = text.split(' ');
        let name = words.next().expect("a path");
        let slash = name.find('/').expect("a path");
        let pairs: Vec<(&str, &str)> = words.map(|word| word.split_once('=').expect("a filter")).collect();
        let host = (slash > 0).then(|| name[..slash].to_owned());
        let filter = Filter::parse(&config(&pairs)).expect("valid");
        (Pattern { host, path: name[slash..].to_owned(), filter }, text)
    }

    fn check(patterns: &[&'static str], host: &str, path: &str, expected: Option<&str>) {
        check_asked(patterns, &format!("GET {host}{path}"), expected);
    }

    /// `METHOD host/path`, then header fields with `=`.
    fn check_asked(patterns: &[&'static str], request: &str, expected: Option<&str>) {
        let mut words = request.split(' ');
        let method: Method = words.next().expect("a method").parse().expect("a method");
        let name = words.next().expect("a path");
        let (host, path) = name.split_at(name.find(['/', '*']).expect("a path"));
        let mut headers = HeaderMap::new();
        for word in words {
            let (name, value) = word.split_once('=').expect("a field");
            headers.append(name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let table = Table::new(patterns.iter().map(|text| parse(text)));
        let found = match table.find(Asked { host, path, method: &method, headers: &headers }) {
            Found::Target(target) => Some((*target).to_owned()),
            Found::OtherMethods(methods) => Some(format!("405 {methods:?}")),
            Found::Nothing => None,
        };
        assert_eq!(found.as_deref(), expected, "{request} in {patterns:?}");
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

    #[test]
    fn a_wildcard_is_one_segment() {
        let patterns = ["/users", "/users/*/orders", "/users/me/orders", "/*/*"];
        check(&patterns, "h", "/users/7/orders/1", Some("/users/*/orders"));
        check(&patterns, "h", "/users/me/orders", Some("/users/me/orders"));
        check(&patterns, "h", "/users/7", Some("/*/*"));
        check(&patterns, "h", "/users", Some("/users"));
        check(&["/users/*/orders"], "h", "/users//orders", None);
        check(&["/users/*/orders"], "h", "/users/a/b/orders", None);
        check(&["/a/*", "/*/b"], "h", "/a/b", Some("/a/*"));
        check(&["/*"], "h", "/", None);
    }

    #[test]
    fn methods_and_headers_decide_between_links_for_the_same_path() {
        let patterns = ["/a", "/a methods=GET", "/a methods=POST,PUT headers=x-version=2", "/a headers=x-beta"];
        check_asked(&patterns, "GET h/a", Some("/a methods=GET"));
        check_asked(&patterns, "HEAD h/a", Some("/a methods=GET"));
        check_asked(&patterns, "POST h/a", Some("/a"));
        check_asked(&patterns, "POST h/a x-version=2", Some("/a methods=POST,PUT headers=x-version=2"));
        check_asked(&patterns, "GET h/a x-beta=1", Some("/a headers=x-beta"));
        check_asked(&["/a methods=GET", "/a methods=PUT"], "POST h/a/b", Some("405 [GET, PUT]"));
        check_asked(&["/a methods=GET", "/"], "POST h/a", Some("/"));
        check_asked(&["/a methods=GET headers=x"], "POST h/a", None);
    }
}
