//! What browsers ask before they let a page of one origin call a server of another (CORS of the Fetch standard).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};
use trellis_provider_sdk::config::{DURATION, Form, optional};
use trellis_provider_sdk::{Body, LinkError, StringMap};

use crate::answer;

const ORIGINS: Form<Origins> = Form {
    expected: "`*`, or origins with commas between",
    example: "https://shop.example.com, https://admin.example.com",
    parse: origins,
};

const METHODS: Form<HeaderValue> =
    Form { expected: "methods with commas between", example: "GET, PUT, DELETE", parse: |text| list::<Method>(text) };

const FIELDS: Form<HeaderValue> = Form {
    expected: "names of header fields with commas between",
    example: "authorization, content-type",
    parse: |text| list::<HeaderName>(text),
};

const FLAG: Form<bool> = Form { expected: "`true` or `false`", example: "true", parse: |text| text.parse().ok() };

/// Which pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Any,
    These(Vec<String>),
}

/// What browsers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cors {
    origins: Origins,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

impl Cors {
    /// Reads it from the config of a link: none without `cors_origins`.
    pub(crate) fn parse(config: &StringMap) -> Result<Option<Self>, LinkError> {
        let methods = optional(config, "cors_methods", &METHODS)?;
        let max_age = optional(config, "cors_max_age", &DURATION)?;
        let cors = Self {
            origins: Origins::Any,
            methods: methods.unwrap_or_else(|| HeaderValue::from_static("GET, HEAD, POST")),
            headers: optional(config, "cors_headers", &FIELDS)?,
            expose: optional(config, "cors_expose", &FIELDS)?,
            credentials: optional(config, "cors_credentials", &FLAG)?.unwrap_or(false),
            max_age: max_age.map(|age| HeaderValue::from(age.as_secs())),
        };
        let Some(origins) = optional(config, "cors_origins", &ORIGINS)? else { return Ok(None) };
        if cors.credentials && origins == Origins::Any {
            return Err(LinkError::Config {
                key: "cors_origins".to_owned(),
                problem: "is `*` while `cors_credentials` is true, which browsers refuse".to_owned(),
                expected: ORIGINS.expected,
                example: ORIGINS.example,
            });
        }
        Ok(Some(Self { origins, ..cors }))
    }

    /// The answer to a browser that asks whether it may send a request; [`Cors::dress`] completes it.
    pub(crate) fn preflight(&self, headers: &HeaderMap) -> Response<Body> {
        if self.allowed(headers.get(ORIGIN)).is_none() {
            return answer::text(StatusCode::FORBIDDEN, "this origin may not call\n");
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        fields.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(headers) = &self.headers {
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        if let Some(max_age) = &self.max_age {
            fields.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        response
    }

    /// Says in an answer that a page of `origin` may read it, if it may; whatever the actor said of that is replaced.
    pub(crate) fn dress(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let own = [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS];
        own.iter().for_each(|name| drop(headers.remove(name)));
        if self.origins != Origins::Any {
            // An answer that was kept must not be given to another origin.
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(allowed) = self.allowed(origin) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(origins) => {
                let is_one = origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
                is_one.then(|| origin.clone())
            }
        }
    }
}

/// The method that a browser asks about, if that is what it does.
pub(crate) fn asked_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| headers.contains_key(ORIGIN))?;
    (method == Method::OPTIONS).then(|| Method::from_bytes(asked.as_bytes()).ok()).flatten()
}

fn origins(text: &str) -> Option<Origins> {
    if text == "*" {
        return Some(Origins::Any);
    }
    let origin = |word: &str| {
        let uri: http::Uri = word.parse().ok()?;
        let is_origin =
            uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/" && uri.query().is_none();
        (is_origin && !word.ends_with('/') && !word.contains('@')).then(|| word.to_ascii_lowercase())
    };
    text.split(',').map(str::trim).map(origin).collect::<Option<_>>().map(Origins::These)
}

fn list<T: std::str::FromStr>(text: &str) -> Option<HeaderValue> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let valid = words.iter().all(|word| word.parse::<T>().is_ok());
    valid.then(|| words.join(", ").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Cors;
    use http::header::{HeaderMap, HeaderValue};
    use trellis_provider_sdk::testing::config;

    fn cors(pairs: &[(&str, &str)]) -> Cors {
        Cors::parse(&config(pairs)).expect("valid").expect("origins")
    }

    #[test]
    fn an_origin_is_told_only_of_itself() {
        let check = |origins: &str, origin: Option<&'static str>, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("access-control-allow-origin", HeaderValue::from_static("the actor's own"));
            cors(&[("cors_origins", origins)]).dress(origin.map(HeaderValue::from_static).as_ref(), &mut headers);
            let told = headers.get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
            assert_eq!(told, expected, "{origin:?} of {origins}");
            assert_eq!(headers.contains_key("vary"), origins != "*");
        };
        let two = "https://a.example.com, https://b.example.com:8443";
        check("*", Some("https://x.example.com"), Some("*"));
        check("*", None, None);
        check(two, Some("https://b.example.com:8443"), Some("https://b.example.com:8443"));
        check(two, Some("https://b.example.com"), None);
        check(two, Some("https://a.example.com.evil.example"), None);
        check(two, Some("null"), None);
    }

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value, example) in [
            ("cors_origins", "shop.example.com", "https://shop.example.com"),
            ("cors_origins", "https://shop.example.com/", "https://shop.example.com"),
            ("cors_methods", "GET PUT", "GET, PUT, DELETE"),
            ("cors_headers", "a b", "authorization, content-type"),
            ("cors_credentials", "yes", "true"),
            ("cors_max_age", "10", "30s"),
        ] {
            let error = Cors::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
        let error = Cors::parse(&config(&[("cors_origins", "*"), ("cors_credentials", "true")]));
        assert!(error.expect_err("browsers refuse that").to_string().contains("cors_credentials"));
        assert_eq!(Cors::parse(&config(&[])), Ok(None));
    }
}
