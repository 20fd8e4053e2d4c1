//! What a request needs besides host and path to belong to a link: a method, and header fields.

use std::fmt;

use http::Method;
use http::header::{HeaderMap, HeaderName};
use trellis_provider_sdk::config::{Form, optional};
use trellis_provider_sdk::{LinkError, StringMap};

const METHODS: Form<Vec<Method>> =
    Form { expected: "methods with commas between", example: "GET, POST", parse: methods };

const HEADERS: Form<Vec<Field>> = Form {
    expected: "names of header fields with commas between, each with `=` and a value if it has to have that",
    example: "x-version=2, x-beta",
    parse: fields,
};

/// The most methods or fields of a link.
const MAX_WORDS: usize = 16;

/// What a request needs besides host and path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    /// One of these, sorted; empty for all.
    methods: Vec<Method>,
    /// All of these, sorted.
    fields: Vec<Field>,
}

/// A header field, and the value that it has to have, if that matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Field {
    name: HeaderName,
    value: Option<String>,
}

impl Filter {
    /// Reads it from the config of a link.
    pub(crate) fn parse(config: &StringMap) -> Result<Self, LinkError> {
        Ok(Self {
            methods: optional(config, "methods", &METHODS)?.unwrap_or_default(),
            fields: optional(config, "headers", &HEADERS)?.unwrap_or_default(),
        })
    }

    /// Whether a request has the method. Who takes `GET` takes `HEAD`.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        let takes = |wanted: &Method| wanted == method || (wanted == Method::GET && method == Method::HEAD);
        self.methods.is_empty() || self.methods.iter().any(takes)
    }

    /// Whether a request has the header fields.
    pub(crate) fn fits(&self, headers: &HeaderMap) -> bool {
        self.fields.iter().all(|field| match &field.value {
            None => headers.contains_key(&field.name),
            Some(value) => headers.get_all(&field.name).iter().any(|given| given.as_bytes() == value.as_bytes()),
        })
    }

    /// The methods that it is for; empty for all.
    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Of two that both let a request through, the greater one is the more special one.
    pub(crate) fn speciality(&self) -> (usize, bool) {
        (self.fields.len(), !self.methods.is_empty())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for method in &self.methods {
            write!(f, " {method}")?;
        }
        for Field { name, value } in &self.fields {
            match value {
                Some(value) => write!(f, " {name}={value}")?,
                None => write!(f, " {name}")?,
            }
        }
        Ok(())
    }
}

fn methods(text: &str) -> Option<Vec<Method>> {
    let method = |word: &str| word.to_ascii_uppercase().parse().ok();
    let mut methods: Vec<Method> = words(text).map(method).collect::<Option<_>>()?;
    methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    (1..=MAX_WORDS).contains(&methods.len()).then_some(methods)
}

fn fields(text: &str) -> Option<Vec<Field>> {
    let field = |word: &str| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
            None => (word, None),
        };
        Some(Field { name: name.parse().ok()?, value })
    };
    let mut fields: Vec<Field> = words(text).map(field).collect::<Option<_>>()?;
    fields.sort_by(|one, other| (one.name.as_str(), &one.value).cmp(&(other.name.as_str(), &other.value)));
    fields.dedup();
    (1..=MAX_WORDS).contains(&fields.len()).then_some(fields)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use http::{HeaderMap, Method};
    use trellis_provider_sdk::testing::config;

    fn filter(pairs: &[(&str, &str)]) -> Filter {
        Filter::parse(&config(pairs)).expect("valid")
    }

    #[test]
    fn a_request_needs_one_of_the_methods_and_all_of_the_fields() {
        let methods = filter(&[("methods", "post, GET")]);
        assert!([Method::GET, Method::HEAD, Method::POST].iter().all(|method| methods.takes(method)));
        assert!(!methods.takes(&Method::PUT) && Filter::default().takes(&Method::PUT));
        let fields = filter(&[("headers", "x-version=2, X-Beta")]);
        let check = |pairs: &[(&'static str, &str)], expected| {
            let mut headers = HeaderMap::new();
            for &(name, value) in pairs {
                headers.append(name, value.parse().expect("valid"));
            }
            assert_eq!(fields.fits(&headers), expected, "{pairs:?}");
        };
        check(&[("x-version", "2"), ("x-beta", "")], true);
        check(&[("x-version", "1"), ("x-version", "2"), ("x-beta", "yes")], true);
        check(&[("x-version", "2")], false);
        check(&[("x-version", "22"), ("x-beta", "")], false);
    }

    #[test]
    fn the_same_in_another_order_is_the_same() {
        assert_eq!(filter(&[("methods", "GET,POST")]), filter(&[("methods", "post , get, GET")]));
        assert_eq!(filter(&[("headers", "a=1,b")]), filter(&[("headers", "B, a = 1")]));
        for (key, value, example) in [
            ("methods", "", "GET, POST"),
            ("methods", "GET POST", "GET, POST"),
            ("headers", "a b", "x-version=2, x-beta"),
        ] {
            let error = Filter::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
    }
}
