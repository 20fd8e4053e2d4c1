//! Servers that are slow, endless, or speak nonsense: a typed error in time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use trellis_interfaces::http::ErrorCode;
use trellis_provider_http_client::Resolver;
use trellis_provider_sdk::{Body, CallError, CallErrorKind};

use crate::support::{Client, PATIENCE, Server, expect, get, post, read, reply};

/// One that reads the head of a request, says `bytes`, and then goes on as `after` does.
async fn saying<A, F>(bytes: &'static [u8], after: A) -> Server
where
    A: Fn(TcpStream) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Server::raw(move |mut stream| {
        let after = after.clone();
        async move {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(bytes).await;
            after(stream).await;
        }
    })
    .await
}

async fn open(stream: TcpStream) {
    let _stream = stream;
    std::future::pending().await
}

async fn closed(stream: TcpStream) {
    drop(stream);
}

async fn endless(mut stream: TcpStream) {
    while stream.write_all(&[b'x'; 16 << 10]).await.is_ok() {}
}

async fn ask(server: &Server, pairs: &[(&str, &str)]) -> Result<(u16, String), CallError> {
    Client::on_loopback(pairs).await.get(&server.uri("/")).await
}

#[tokio::test]
async fn a_server_that_never_answers_takes_the_time_it_has() {
    let server = saying(b"", open).await;
    let started = Instant::now();
    expect(ask(&server, &[("first_byte_timeout", "200ms")]).await, CallErrorKind::Deadline, None);
    let client = Client::on_loopback(&[]).await;
    let limit = Duration::from_millis(200);
    expect(client.send_within(limit, get(&server.uri("/"))).await, CallErrorKind::Deadline, None);
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_that_never_ends_is_no_response() {
    let server = saying(b"HTTP/1.1 200 OK\r\nX: ", endless).await;
    expect(ask(&server, &[]).await, CallErrorKind::Provider, Some(ErrorCode::HttpProtocolError));
    let server =
        saying(
            b"HTTP/1.1 200 OK\r\n",
            |mut stream| async move { while stream.write_all(b"a: b\r\n").await.is_ok() {} },
        )
        .await;
    expect(ask(&server, &[]).await, CallErrorKind::Provider, Some(ErrorCode::HttpProtocolError));
}

#[tokio::test]
async fn nonsense_is_a_protocol_error() {
    for garbage in [
        &b"\0\0\0\0\0\0\0\0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let server = saying(garbage, closed).await;
        let error = ask(&server, &[]).await.expect_err("nonsense");
        let code = ErrorCode::of(&error.message);
        assert_eq!(
            (error.kind, code),
            (CallErrorKind::Provider, Some(ErrorCode::HttpProtocolError)),
            "{error} {garbage:?}"
        );
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_refused() {
    let server = saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", open).await;
    expect(ask(&server, &[]).await, CallErrorKind::Provider, Some(ErrorCode::HttpProtocolError));
}

#[tokio::test]
async fn a_body_that_stalls_breaks_in_half_or_never_ends_is_given_up() {
    let idle = [("idle_timeout", "200ms")];
    let server = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", open).await;
    expect(ask(&server, &idle).await, CallErrorKind::Deadline, Some(ErrorCode::ConnectionReadTimeout));
    let server = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", closed).await;
    expect(ask(&server, &[]).await, CallErrorKind::Provider, Some(ErrorCode::HttpResponseIncomplete));
    let server = saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", open).await;
    expect(ask(&server, &[]).await, CallErrorKind::Provider, Some(ErrorCode::HttpResponseIncomplete));
    let limit = [("response_limit", "1MiB")];
    let too_large = Some(ErrorCode::HttpResponseBodySize);
    let server = saying(b"HTTP/1.1 200 OK\r\n\r\n", endless).await;
    expect(ask(&server, &limit).await, CallErrorKind::TooLarge, too_large);
    let server = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", open).await;
    expect(ask(&server, &limit).await, CallErrorKind::TooLarge, too_large);
}

#[tokio::test]
async fn a_server_that_leaves_without_a_word_may_have_done_it() {
    let server = saying(b"", closed).await;
    expect(ask(&server, &[]).await, CallErrorKind::UnknownOutcome, Some(ErrorCode::ConnectionTerminated));
}

#[tokio::test]
async fn a_body_that_the_actor_breaks_off_is_the_actors_failure() {
    let server = Server::http(crate::support::echoed).await;
    let client = Client::on_loopback(&[]).await;
    let frames = [Ok(http_body::Frame::data("half".into())), Err(CallError::trap("guest trapped"))];
    let body = Body::stream(http_body_util::StreamBody::new(futures::stream::iter(frames)));
    let request = http::Request::post(server.uri("/")).body(body).unwrap();
    match client.send(request).await {
        Ok(response) => assert!(timeout(PATIENCE, response.collect()).await.expect("an end").is_err()),
        Err(error) => assert_eq!(error.kind, CallErrorKind::Trap, "{error}"),
    }
}

#[tokio::test]
async fn names_that_are_not_found_and_name_servers_that_are_silent_say_so() {
    let failing: Resolver = Arc::new(|_| Box::pin(async { Err(io::Error::other("no such host")) }));
    let silent: Resolver = Arc::new(|_| Box::pin(std::future::pending()));
    let empty: Resolver = Arc::new(|_| Box::pin(async { Ok(Vec::new()) }));
    for (resolver, code) in
        [(failing, ErrorCode::DnsError), (empty, ErrorCode::DnsError), (silent, ErrorCode::DnsTimeout)]
    {
        let client = Client::resolving(resolver, &[("allow", "*"), ("connect_timeout", "200ms")]).await;
        let error = client.get("http://lost.example/").await.expect_err("not found");
        let is_timeout =
            ErrorCode::of(&error.message) == Some(ErrorCode::ConnectionTimeout) && code == ErrorCode::DnsTimeout;
        assert!(is_timeout || ErrorCode::of(&error.message) == Some(code), "{error}");
        assert_eq!(error.kind, CallErrorKind::NoTarget);
    }
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over() {
    let server = Server::saying("hello").await;
    let (resolver, _) = crate::support::answering(&[&["127.0.0.9", "127.0.0.1"]]);
    let client = Client::resolving(resolver, &[("allow", "*:*"), ("grant_private", "loopback")]).await;
    let uri = format!("http://two.example:{}/", server.address.port());
    assert_eq!(client.get(&uri).await.unwrap().1, "hello");
}

#[tokio::test]
async fn a_server_that_comes_and_goes_under_load_is_found_again() {
    let quick = Server::saying("quick").await;
    let server = Server::saying("hello").await;
    let (address, uri) = (server.address, server.uri("/"));
    let client = Arc::new(Client::on_loopback(&[]).await);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (client, uri, stop) = (client.clone(), uri.clone(), stop.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    match client.get(&uri).await {
                        Ok(answer) => {
                            assert_eq!(answer.1, "hello");
                            answered += 1;
                        }
                        Err(error) => {
                            let kinds =
                                [CallErrorKind::NoTarget, CallErrorKind::UnknownOutcome, CallErrorKind::Provider];
                            assert!(kinds.contains(&error.kind), "{error}");
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    let mut server = Some(server);
    for _ in 0..3 {
        until(&client, &uri, Result::is_ok).await;
        drop(server.take());
        until(&client, &uri, |outcome| outcome.as_ref().is_err_and(|error| error.kind == CallErrorKind::NoTarget))
            .await;
        assert_eq!(client.get(&quick.uri("/")).await.unwrap().1, "quick");
        let again = Server::http_at(address, |_| Box::pin(async { reply(200, "hello") }));
        server = Some(again.await);
    }
    until(&client, &uri, Result::is_ok).await;
    stop.store(true, Ordering::SeqCst);
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
}

/// Asks again and again until it is so.
async fn until(client: &Client, uri: &str, is_so: impl Fn(&Result<(u16, String), CallError>) -> bool) {
    let asked = async {
        while !is_so(&client.get(uri).await) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("it comes so far");
}

#[tokio::test]
async fn a_slow_server_holds_up_nobody_else() {
    let slow = saying(b"", open).await;
    let quick = Server::saying("quick").await;
    let client = Arc::new(Client::on_loopback(&[]).await);
    let mut hung = Vec::new();
    for _ in 0..100 {
        let (client, uri) = (client.clone(), slow.uri("/"));
        hung.push(tokio::spawn(async move { client.send_within(Duration::from_secs(2), post(&uri, "x")).await }));
    }
    let mut answered = 0;
    while slow.accepted() < 100 || answered < 100 {
        let response = client.send(get(&quick.uri("/"))).await.unwrap();
        assert_eq!(read(response).await.unwrap().1, "quick");
        answered += 1;
    }
    for hung in hung {
        expect(hung.await.unwrap(), CallErrorKind::Deadline, None);
    }
}
