//! Answers that need no actor: a text, or another address.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode, Uri};
use trellis_provider_sdk::config::{Form, optional};
use trellis_provider_sdk::{Body, LinkError, StringMap};

use crate::answer;

const STATUS: Form<StatusCode> =
    Form { expected: "a status from 200 to 599", example: "200", parse: |text| status(text, 200..=599) };

const MOVED: Form<StatusCode> = Form {
    expected: "301, 302, 303, 307 or 308",
    example: "308",
    parse: |text| status(text, 301..=308).filter(|status| ![304, 305, 306].contains(&status.as_u16())),
};

const TEXT: Form<String> =
    Form { expected: "a text of at most 64 KiB", example: "closed for today", parse: |text| short(text, 64 << 10) };

const TYPE: Form<HeaderValue> =
    Form { expected: "a media type", example: "application/json", parse: |text| text.parse().ok() };

const TARGET: Form<String> = Form {
    expected: "a URL or path, where `{host}` and `{path}` stand for those of the request",
    example: "https://{host}{path}",
    parse: target,
};

/// An answer that needs no actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// Always the same text.
    Text(StatusCode, HeaderValue, Bytes),
    /// Another address.
    Redirect(StatusCode, String),
}

impl Fixed {
    /// Reads it from the config of a link.
    pub(crate) fn parse(config: &StringMap) -> Result<Option<Self>, LinkError> {
        let status = optional(config, "answer_status", &STATUS)?;
        let text = optional(config, "answer_body", &TEXT)?;
        let media_type = optional(config, "answer_type", &TYPE)?;
        let moved = optional(config, "redirect_status", &MOVED)?.unwrap_or(StatusCode::PERMANENT_REDIRECT);
        if let Some(target) = optional(config, "redirect", &TARGET)? {
            return Ok(Some(Self::Redirect(moved, target)));
        }
        if status.is_none() && text.is_none() {
            return Ok(None);
        }
        let media_type = media_type.unwrap_or_else(|| HeaderValue::from_static("text/plain; charset=utf-8"));
        Ok(Some(Self::Text(status.unwrap_or(StatusCode::OK), media_type, text.unwrap_or_default().into())))
    }

    /// The answer to a request for `uri` at `host`.
    pub(crate) fn answer(&self, host: &str, uri: &Uri) -> Response<Body> {
        let (status, name, value, body) = match self {
            Self::Text(status, media_type, text) => (*status, CONTENT_TYPE, media_type.clone(), text.clone().into()),
            Self::Redirect(status, target) => {
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                // What comes from the request cannot begin a path with two slashes, which would be another host.
                let path = format!("/{}", path.trim_start_matches('/'));
                match HeaderValue::try_from(target.replace("{host}", host).replace("{path}", &path)) {
                    Ok(location) => (*status, LOCATION, location, Body::Empty),
                    Err(_) => return answer::text(StatusCode::BAD_REQUEST, "this cannot be redirected\n"),
                }
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(name, value);
        response
    }
}

fn status(text: &str, range: std::ops::RangeInclusive<u16>) -> Option<StatusCode> {
    text.parse().ok().filter(|code| range.contains(code)).and_then(|code| StatusCode::from_u16(code).ok())
}

fn short(text: &str, limit: usize) -> Option<String> {
    (text.len() <= limit).then(|| text.to_owned())
}

fn target(text: &str) -> Option<String> {
    let filled = text.replace("{host}", "h").replace("{path}", "/p");
    let absolute = ["http://", "https://", "/"].iter().any(|start| filled.starts_with(start));
    (absolute && filled.parse::<Uri>().is_ok() && !filled.contains(['{', '}'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Fixed;
    use http::StatusCode;
    use trellis_provider_sdk::testing::config;

    fn fixed(pairs: &[(&str, &str)]) -> Fixed {
        Fixed::parse(&config(pairs)).expect("valid").expect("an answer")
    }

    #[test]
    fn host_and_path_of_the_request_are_filled_in() {
        let check = |target: &str, uri: &str, expected: &str| {
            let response = fixed(&[("redirect", target)]).answer("shop.example.com", &uri.parse().expect("valid"));
            assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
            assert_eq!(response.headers()["location"], expected);
        };
        check("https://{host}{path}", "/a?b=c", "https://shop.example.com/a?b=c");
        check("https://new.example.com/x", "/a", "https://new.example.com/x");
        check("/new{path}", "/a", "/new/a");
        check("{path}", "//evil.example.com/", "/evil.example.com/");
    }

    #[test]
    fn what_is_no_answer_is_named_with_an_example() {
        for (key, value, example) in [
            ("answer_status", "100", "200"),
            ("answer_status", "ok", "200"),
            ("answer_type", "a\nb", "application/json"),
            ("redirect", "new.example.com", "https://{host}{path}"),
            ("redirect", "https://{port}", "https://{host}{path}"),
            ("redirect_status", "304", "308"),
        ] {
            let error = Fixed::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
        assert_eq!(Fixed::parse(&config(&[])), Ok(None));
        let (status, empty) = (fixed(&[("answer_status", "204")]), fixed(&[("answer_body", "")]));
        assert!(matches!(status, Fixed::Text(StatusCode::NO_CONTENT, ..)) && matches!(empty, Fixed::Text(..)));
    }
}
