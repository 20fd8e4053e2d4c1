//! What reaches a server, and what comes back.

use bytes::Bytes;
use futures::SinkExt as _;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::testing::{as_source, as_target, invocation, link};
use trellis_provider_sdk::{Body, CallError, CallErrorKind, Provider as _, Trace};

use crate::support::{Client, PATIENCE, Server, described, echoed, expect, full, get, post, read, reply, streamed};

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let server = Server::http(described).await;
    let client = Client::on_loopback(&[]).await;
    let (status, said) = client.get(&server.uri("/a%20b/../c?d=%2F")).await.unwrap();
    assert_eq!(status, 200);
    assert!(said.starts_with("GET /a%20b/../c?d=%2F Some(0)\n"), "{said}");
    let (_, said) = read(client.send(post(&server.uri("/"), "body")).await.unwrap()).await.unwrap();
    assert!(said.starts_with("POST / Some(4)\n") && said.contains("content-length: 4\n"), "{said}");
    let request = Request::put(server.uri("/")).body(streamed(b"stream")).unwrap();
    let (_, said) = read(client.send(request).await.unwrap()).await.unwrap();
    assert!(said.starts_with("PUT / Some(6)\n") && said.contains("transfer-encoding: chunked"), "{said}");
}

#[tokio::test]
async fn the_connection_is_not_the_actors_to_speak_of() {
    let server = Server::http(described).await;
    let client = Client::on_loopback(&[]).await;
    let request = Request::get(server.uri("/"))
        .header("host", "elsewhere.example")
        .header("connection", "x-private, close")
        .header("x-private", "1")
        .header("transfer-encoding", "chunked")
        .header("te", "trailers")
        .header("upgrade", "websocket")
        .header("proxy-authorization", "secret")
        .header("expect", "100-continue")
        .header("x-public", "1")
        .body(Body::Empty)
        .unwrap();
    let (_, said) = read(client.send(request).await.unwrap()).await.unwrap();
    assert_eq!(said, format!("GET / Some(0)\nx-public: 1\nhost: {}\n", server.address));
}

#[tokio::test]
async fn hops_of_a_response_end_here() {
    let server = Server::http(|_| {
        Box::pin(async {
            let head = Response::builder().header("keep-alive", "timeout=5").header("x-kept", "1");
            head.header("connection", "x-private").header("x-private", "1").body(Body::Empty).unwrap()
        })
    })
    .await;
    let response = Client::on_loopback(&[]).await.send(get(&server.uri("/"))).await.unwrap();
    let mut names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-kept"]);
}

#[tokio::test]
async fn a_length_that_is_a_lie_does_not_become_a_second_request() {
    let server = Server::http(described).await;
    let client = Client::on_loopback(&[]).await;
    let with_length =
        |length: &str, body: Body| Request::post(server.uri("/")).header("content-length", length).body(body).unwrap();
    let smuggled = b"abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let result = client.send(with_length("3", streamed(smuggled))).await;
    if let Ok(response) = result {
        let (_, said) = read(response).await.unwrap();
        assert!(said.starts_with("POST / Some(3)\n"), "{said}");
    }
    let (_, said) = client.get(&server.uri("/next")).await.unwrap();
    assert!(said.starts_with("GET /next "), "{said}");
    let known = full(Bytes::from_static(b"four"));
    let (_, said) = read(client.send(with_length("40", known)).await.unwrap()).await.unwrap();
    assert!(said.starts_with("POST / Some(4)\n"), "the body knows better: {said}");
    assert!(client.send(with_length("40", streamed(b"short"))).await.is_err(), "a body that ends early");
    for wrong in ["3, 3", "+3", "0x3", "-1", ""] {
        let request = with_length(wrong, streamed(b"abc"));
        expect(client.send(request).await, CallErrorKind::Provider, Some(ErrorCode::HttpProtocolError));
    }
}

#[tokio::test]
async fn methods_that_are_for_proxies_are_refused() {
    let server = Server::saying("hello").await;
    let client = Client::on_loopback(&[]).await;
    let request = Request::connect(server.address.to_string()).body(Body::Empty).unwrap();
    expect(client.send(request).await, CallErrorKind::Denied, Some(ErrorCode::HttpRequestMethodInvalid));
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let server = Server::http(echoed).await;
    let client = Client::on_loopback(&[]).await;
    let (mut chunks, receiver) = futures::channel::mpsc::channel::<Result<Frame<Bytes>, CallError>>(0);
    let request = Request::post(server.uri("/")).body(Body::stream(StreamBody::new(receiver))).unwrap();
    let mut body = client.send(request).await.expect("before the body ends").into_body();
    for n in 0..64_u8 {
        let chunk = Bytes::from(vec![n; 64 << 10]);
        chunks.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
        let mut echoed = 0;
        while echoed < chunk.len() {
            let frame = timeout(PATIENCE, body.frame()).await.expect("echoed at once").unwrap().unwrap();
            echoed += frame.data_ref().map_or(0, Bytes::len);
        }
    }
    drop(chunks);
    assert!(timeout(PATIENCE, body.frame()).await.expect("the end").is_none());
}

/// A server that sends for ever, and how much it could.
#[tokio::test]
async fn a_server_is_not_read_faster_than_the_actor_reads() {
    let (sent, sending) = tokio::sync::watch::channel(0_usize);
    let server = Server::raw(move |mut stream| {
        let sent = sent.clone();
        async move {
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while let Ok(written) = stream.write(&[0; 64 << 10]).await {
                sent.send_modify(|sent| *sent += written);
            }
        }
    })
    .await;
    let client = Client::on_loopback(&[]).await;
    let mut body = client.send(get(&server.uri("/"))).await.unwrap().into_body();
    let mut seen = sending.clone();
    while timeout(std::time::Duration::from_millis(500), seen.changed()).await.is_ok() {
        assert!(*seen.borrow_and_update() < 32 << 20, "the client buffers without bound");
    }
    let stalled_at = *sending.borrow();
    let mut read = 0;
    while read < 64 << 20 {
        let frame = timeout(PATIENCE, body.frame()).await.expect("it goes on").unwrap().unwrap();
        let length = frame.data_ref().map_or(0, Bytes::len);
        assert!(length <= 1 << 20, "{length} bytes at once");
        read += length;
    }
    assert!(*sending.borrow() > stalled_at);
}

#[tokio::test]
async fn redirects_are_the_actors_unless_the_link_follows_them() {
    let server = Server::http(|request| {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let to = |location: &str| {
                Response::builder().status(302).header("location", location).body(Body::Empty).unwrap()
            };
            match path.as_str() {
                "/start" => to("next?x=1"),
                "/next" => to("/end"),
                "/loop" => to("/loop"),
                "/again" => {
                    let mut again = to("/end");
                    *again.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
                    again
                }
                _ => described(request).await,
            }
        })
    })
    .await;
    let client = Client::on_loopback(&[]).await;
    assert_eq!(client.get(&server.uri("/start")).await.unwrap().0, 302);
    client.put("actor", &[("allow", "*:*"), ("grant_private", "loopback"), ("redirects", "2")]).await.unwrap();
    let (status, said) = client.get(&server.uri("/start")).await.unwrap();
    assert!(status == 200 && said.starts_with("GET /end Some(0)\n"), "{status} {said}");
    expect(client.get(&server.uri("/loop")).await, CallErrorKind::Provider, Some(ErrorCode::LoopDetected));
    let (status, _) = read(client.send(post(&server.uri("/again"), "body")).await.unwrap()).await.unwrap();
    assert_eq!(status, 307, "a body is sent once");
    let (status, said) = read(client.send(post(&server.uri("/start"), "body")).await.unwrap()).await.unwrap();
    assert!(status == 200 && said.starts_with("GET /end Some(0)\n"), "{status} {said}");
}

#[tokio::test]
async fn a_trace_goes_with_the_request() {
    let server = Server::http(described).await;
    let client = Client::on_loopback(&[]).await;
    let mut invocation =
        invocation(&link("actor", "http-client", &["wasi:http/client"]), "wasi:http/client", "handle", &());
    let (parts, ()) = Request::get(server.uri("/")).body(()).unwrap().into_parts();
    invocation.args = trellis_provider_sdk::Args::Request(Box::new(parts));
    invocation.head.context.trace = Some(Trace { parent: "00-0af7-b7ad-01".into(), state: Some("a=b".into()) });
    let answer = client.provider.call(invocation).await.unwrap();
    let said = answer.body.collect(1 << 20).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("traceparent: 00-0af7-b7ad-01\n") && said.contains("tracestate: a=b\n"), "{said}");
}

#[tokio::test]
async fn only_links_to_this_provider_lead_out() {
    let server = Server::saying("hello").await;
    let client = Client::on_loopback(&[]).await;
    expect(client.send_from("stranger", get(&server.uri("/"))).await, CallErrorKind::NoTarget, None);
    let down = link("actor", "http-client", &["wasi:http/outgoing-handler"]);
    let error = client.provider.link_up(&as_source(down.clone(), &[("allow", "*")])).await.expect_err("wrong end");
    assert!(error.to_string().contains("target of its links"), "{error}");
    expect(client.get(&server.uri("/")).await, CallErrorKind::NoTarget, None);
    client.put("actor", &[("allow", "*:*"), ("grant_private", "loopback")]).await.unwrap();
    assert_eq!(client.get(&server.uri("/")).await.unwrap(), (200, "hello".to_owned()));
    client.provider.link_down(&as_target(down, &[])).await;
    expect(client.get(&server.uri("/")).await, CallErrorKind::NoTarget, None);
}

#[tokio::test]
async fn draining_finishes_what_is_there_and_takes_nothing_new() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let open = gate.clone();
    let server = Server::http(move |_| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            reply(200, "late")
        })
    })
    .await;
    let client = Client::on_loopback(&[]).await;
    let uri = server.uri("/");
    let mut in_flight = Box::pin(client.get(&uri));
    let drained = async {
        while server.accepted() == 0 {
            tokio::task::yield_now().await;
        }
        let mut drained = Box::pin(client.provider.drain(PATIENCE));
        assert!(futures::poll!(&mut drained).is_pending(), "a request is under way");
        expect(client.get(&uri).await, CallErrorKind::NoTarget, None);
        open.add_permits(1);
        drained.await;
    };
    let (result, ()) = timeout(PATIENCE, futures::future::join(&mut in_flight, drained)).await.expect("drained");
    assert_eq!(result.unwrap().1, "late");
}
