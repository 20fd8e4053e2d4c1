//! Where a redirect leads, and what of the request goes there (RFC 9110, 15.4): pure.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, Uri, request, response};
use url::Url;

/// What is for the origin that was asked, and for no other.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// What describes a body.
const OF_BODIES: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::TRANSFER_ENCODING,
];

/// Whether a request had a body, which is gone once it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Only the head.
    Head,
    /// A body as well.
    Body,
}

/// The request that follows `asked` after `response`; `None` when that is what the actor gets: no redirect, one without a
/// place to go to, or one that wants the body again.
pub(crate) fn next(asked: &request::Parts, sent: Sent, response: &response::Parts) -> Option<request::Parts> {
    let method = match response.status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if asked.method == Method::POST => Method::GET,
        StatusCode::SEE_OTHER if asked.method != Method::HEAD => Method::GET,
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => asked.method.clone(),
        _ => return None,
    };
    let drops_body = method != asked.method;
    if sent == Sent::Body && !drops_body {
        return None;
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let (uri, origin) = location(&asked.uri, &response.headers)?;
    parts.uri = uri;
    parts.method = method;
    parts.headers = asked.headers.clone();
    let dropped = CREDENTIALS.iter().filter(|_| origin == Origin::Other);
    for name in dropped.chain(OF_BODIES.iter().filter(|_| drops_body)) {
        parts.headers.remove(name);
    }
    Some(parts)
}

#[derive(PartialEq, Eq)]
enum Origin {
    Same,
    Other,
}

fn location(asked: &Uri, headers: &HeaderMap) -> Option<(Uri, Origin)> {
    let mut locations = headers.get_all(header::LOCATION).iter();
    let (location, None) = (locations.next()?.to_str().ok()?, locations.next()) else { return None };
    let from = Url::parse(&asked.to_string()).ok()?;
    let mut to = from.join(location).ok()?;
    to.set_fragment(None);
    let origin = if from.origin() == to.origin() { Origin::Same } else { Origin::Other };
    Some((to.as_str().parse().ok()?, origin))
}

#[cfg(test)]
mod tests {
    use super::{Sent, next};
    use http::{Request, Response};

    fn follow(request: &str, sent: Sent, status: u16, location: &str) -> Option<String> {
        let (method, uri) = request.split_once(' ').expect("method and URI");
        let (asked, ()) = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", "secret")
            .header("cookie", "secret")
            .header("content-type", "text/plain")
            .body(())
            .expect("valid")
            .into_parts();
        let response = Response::builder().status(status).header("location", location).body(()).expect("valid");
        let parts = next(&asked, sent, &response.into_parts().0)?;
        let kept = ["authorization", "cookie", "content-type"].map(|name| u8::from(parts.headers.contains_key(name)));
        Some(format!("{} {} {kept:?}", parts.method, parts.uri))
    }

    fn check(request: &str, sent: Sent, status: u16, location: &str, expected: &str) {
        let followed = follow(request, sent, status, location);
        assert_eq!(followed.as_deref(), Some(expected), "{request} {status} {location}");
    }

    #[test]
    fn the_method_changes_as_clients_do_it() {
        check("GET http://a/x", Sent::Head, 301, "/y", "GET http://a/y [1, 1, 1]");
        check("HEAD http://a/x", Sent::Head, 303, "/y", "HEAD http://a/y [1, 1, 1]");
        check("POST http://a/x", Sent::Body, 302, "/y", "GET http://a/y [1, 1, 0]");
        check("PUT http://a/x", Sent::Body, 303, "y?z", "GET http://a/y?z [1, 1, 0]");
        check("DELETE http://a/x", Sent::Head, 307, "/y", "DELETE http://a/y [1, 1, 1]");
        check("POST http://a/x", Sent::Head, 308, "/y#z", "POST http://a/y [1, 1, 1]");
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        for elsewhere in ["http://b/", "//b/", "http://a:81/", "https://a/", "http://a.b/"] {
            let followed = follow("GET http://a/", Sent::Head, 302, elsewhere).expect("followed");
            assert!(followed.ends_with("[0, 0, 1]"), "{followed}");
        }
        check("GET http://a/", Sent::Head, 302, "http://A:80/", "GET http://a/ [1, 1, 1]");
    }

    #[test]
    fn what_cannot_be_followed_is_the_answer() {
        assert_eq!(follow("POST http://a/", Sent::Body, 307, "/y"), None);
        assert_eq!(follow("PUT http://a/", Sent::Body, 301, "/y"), None);
        assert_eq!(follow("GET http://a/", Sent::Head, 304, "/y"), None);
        assert_eq!(follow("GET http://a/", Sent::Head, 302, "http://["), None);
    }
}
