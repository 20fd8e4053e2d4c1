//! Requests that two parsers could read differently: each has one reading here, or none.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use trellis_provider_sdk::Body;

use crate::support::{Server, actor, answer, request_of};

/// What follows each of the vectors on its connection.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What becomes of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No actor sees anything of this connection.
    Refused,
    /// An actor sees this, and then the next request.
    Read(&'static str),
    /// An actor sees this, and the connection is closed.
    Last(&'static str),
}

use Verdict::{Last, Read, Refused};

/// Where a body ends.
const FRAMING: &[(&str, Verdict)] = &[
    ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", Read("GET /a []")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", Read("POST /a [abc]")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Read("POST /a []")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", Read("POST /a [abc]")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Read("POST /a [abc]")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3 0\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3.0\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nabc", Refused),
    (
        "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\nGET /b HTTP/1.1\r\n\r\nxx",
        Read("GET /a [GET /b HTTP/1.1\r\n\r\nxx]"),
    ),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Read("POST /a [abc]")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Read("POST /a [abc]")),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        Read("POST /a [abc]"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n0\r\nx: y\r\n\r\n",
        Read("POST /a [abc]"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        Last("POST /a []"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
        Last("POST /a []"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Last("POST /a [abc]"),
    ),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", Refused),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        Read("POST /a [abc]"),
    ),
    ("POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
];

/// Chunks that are none: the actor sees a body that fails, and the connection is closed.
const CHUNKS: &[&str] = &[
    "zz\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "10000000000000000\r\nabc\r\n0\r\n\r\n",
    "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "3;x=\ny\r\nabc\r\n0\r\n\r\n",
    "\r\n3\r\nabc\r\n0\r\n\r\n",
    "0\r\nx y: z\r\n\r\n",
    "3,\r\nabc\r\n0\r\n\r\n",
];

/// Where a head ends, and what is in it.
const HEADS: &[(&str, Verdict)] = &[
    ("\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", Read("GET /a []")),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX y: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX\u{80}: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\rHost: a\r\r", Refused),
    (" GET /a HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a  HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET\t/a HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("G@T /a HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a\r\n\r\n", Refused),
    ("GET /a HTTP/1.2\r\nHost: a\r\n\r\n", Refused),
    ("GET /a HTTP/2.0\r\nHost: a\r\n\r\n", Refused),
    ("GET /a HTTP/0.9\r\nHost: a\r\n\r\n", Refused),
    ("GET /a http/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a HTTP/1.1 \r\nHost: a\r\n\r\n", Refused),
    ("GET /a HTTP/1.1x\r\nHost: a\r\n\r\n", Refused),
    ("GET /a XTTP/1.1\r\nHost: a\r\n\r\n", Refused),
];

/// A line that ends without a carriage return ends, here and in a chunked body's framing alike nothing else.
const BARE_LINE_FEEDS: &[(&str, Verdict)] = &[
    ("GET /a HTTP/1.1\nHost: a\n\n", Read("GET /a []")),
    ("POST /a HTTP/1.1\r\nHost: a\nContent-Length: 3\r\n\r\nabc", Read("POST /a [abc]")),
    ("POST /a HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 3\n\nabc", Read("POST /a [abc]")),
];

/// For whom a request is. The connection stays: its framing is clear.
const HOSTS: &[(&str, &str)] = &[
    ("GET /a HTTP/1.1\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost:\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a\\b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a#b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a?b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a%2eb\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a:b\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: a:80:80\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: \u{e4}\r\n\r\n", "400"),
    ("GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("GET http://a:81/a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("GET http://u@a/a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("GET http://u@a/a HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "405"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "501"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n", "501"),
];

/// Targets that arrive as they came.
const TARGETS: &[(&str, &str)] = &[
    ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a/../b []"),
    ("GET /%2e%2e/a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%2e%2e/a []"),
    ("GET //a//b HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a//b []"),
    ("GET /a;x=/../b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a;x=/../b []"),
    ("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a%00b []"),
    ("GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a%2fb []"),
    ("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b []"),
    ("GET http://A/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b []"),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * []"),
    ("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "GET /a []"),
    ("GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /a []"),
];

/// A server that notes what its actor sees.
async fn noting() -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = seen.clone();
    let actor = actor(move |call| {
        let notes = notes.clone();
        Box::pin(async move {
            let parts = request_of(&call);
            let line = format!("{} {}", parts.method, parts.uri.path());
            let body = match call.body.collect(1 << 20).await {
                Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                Err(_) => "broken".to_owned(),
            };
            notes.lock().unwrap().push(format!("{line} [{body}]"));
            Ok(answer(StatusCode::OK, Body::Empty))
        })
    });
    let limits = [("stall_timeout", "300ms"), ("header_timeout", "300ms")];
    (Server::linked(actor, &limits).await, seen)
}

fn statuses(said: &str) -> Vec<&str> {
    said.match_indices("HTTP/1.1 ").map(|(at, version)| &said[at + version.len()..][..3]).collect()
}

async fn check(vectors: &[(&str, Verdict)]) {
    let (server, seen) = noting().await;
    let mut wrong = Vec::new();
    for (vector, expected) in vectors {
        let bytes: Vec<u8> = vector.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).chain(NEXT.bytes()).collect();
        let said = server.says_to(&bytes).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let next = seen.last().is_some_and(|seen| seen == "GET /next []");
        let is_as_expected = match expected {
            Refused => seen.is_empty() && statuses(&said).iter().all(|status| *status >= "400"),
            Read(request) => next && seen.len() == 2 && seen[0] == *request && statuses(&said) == ["200", "200"],
            Last(request) => !next && seen == [*request] && statuses(&said)[0] == "200",
        };
        if !is_as_expected {
            wrong.push(format!("{vector:?}\n  {expected:?}, got {:?} and {seen:?}", statuses(&said)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_body_has_one_end_or_the_request_is_refused() {
    check(FRAMING).await;
}

#[tokio::test]
async fn a_head_has_one_reading_or_the_request_is_refused() {
    check(HEADS).await;
    check(BARE_LINE_FEEDS).await;
}

#[tokio::test]
async fn a_chunk_that_is_none_ends_the_connection() {
    let (server, seen) = noting().await;
    for chunks in CHUNKS {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let said = server.says_to(format!("{head}{chunks}{NEXT}").as_bytes()).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(seen.iter().all(|seen| seen == "POST /a [broken]"), "{chunks:?}: {seen:?} and {said}");
    }
}

#[tokio::test]
async fn a_request_is_for_one_host_or_for_none() {
    let (server, seen) = noting().await;
    for (vector, status) in HOSTS {
        let said = server.says_to(format!("{vector}{NEXT}").as_bytes()).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(statuses(&said).first(), Some(status), "{vector:?}: {said}");
        assert!(seen.iter().all(|seen| seen == "GET /next []"), "{vector:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_target_arrives_as_it_came() {
    for (vector, expected) in TARGETS {
        let (server, seen) = noting().await;
        let said = server.says_to(format!("{vector}{NEXT}").as_bytes()).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen, [*expected, "GET /next []"], "{vector:?}: {said}");
    }
    let vectors = FRAMING.len() + CHUNKS.len() + HEADS.len() + BARE_LINE_FEEDS.len() + HOSTS.len() + TARGETS.len();
    assert!(vectors >= 80, "{vectors}");
}
