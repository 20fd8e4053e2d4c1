//! Bodies and trailers: streamed both ways as they are read, bounded, and never half of one for a whole.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::channel::mpsc;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use trellis_provider_sdk::{Answer, Args, Body, Call, CallError, CallErrorKind, Caller};

use super::client::{Client, VERSIONS, Version, post, request, send, text};
use crate::support::{PATIENCE, Reply, Server, actor, answer, echo};

/// What a peer may send of one body before the actor reads, and of all bodies of a connection.
const STREAM_WINDOW_BYTES: usize = 64 << 10;

type Frames = mpsc::Sender<Result<Frame<Bytes>, CallError>>;

/// A body of frames that are sent one by one.
fn piecewise() -> (Frames, Body) {
    let (frames, receiver) = mpsc::channel(0);
    (frames, Body::stream(StreamBody::new(receiver)))
}

#[tokio::test]
async fn bodies_stream_both_ways_as_they_are_read() {
    let (_server, address) = Server::with_link(echo(), &[]).await;
    for version in VERSIONS {
        let (mut frames, body) = piecewise();
        let mut response =
            Client::connect(version, address).await.send(post(body)).await.expect("before the body ends");
        for n in 0..8_u8 {
            let chunk = Bytes::from(vec![n; 64 << 10]);
            frames.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
            let mut echoed = 0;
            while echoed < chunk.len() {
                let frame = timeout(PATIENCE, response.frame()).await.expect("echoed at once").unwrap().unwrap();
                let data = frame.into_data().expect("no trailers");
                assert!(data.iter().all(|byte| *byte == n), "{version:?}");
                echoed += data.len();
            }
        }
        drop(frames);
        let rest = timeout(PATIENCE, response.collect()).await.expect("the end").unwrap().to_bytes();
        assert!(rest.is_empty(), "{version:?}");
    }
}

/// Answers with what it is sent, and the length that was announced of it.
fn measuring() -> Arc<dyn Caller> {
    actor(|call| {
        Box::pin(async {
            let announced = http_body::Body::size_hint(&call.body).exact();
            let body = call.body.collect(1 << 30).await?;
            Ok(answer(StatusCode::OK, Bytes::from(format!("{announced:?} {}", body.len())).into()))
        })
    })
}

#[tokio::test]
async fn request_bodies_of_all_kinds_arrive_whole() {
    let (_server, address) = Server::with_link(measuring(), &[]).await;
    for version in VERSIONS {
        for length in [0, 1, 64 << 10, 3 << 20] {
            let body = Body::from(Bytes::from(vec![7; length]));
            let (status, _, said) = send(version, address, post(body)).await;
            assert_eq!((status, said), (StatusCode::OK, format!("Some({length}) {length}")), "{version:?}");
        }
        let (mut frames, body) = piecewise();
        let sending = async move {
            for _ in 0..3 {
                frames.send(Ok(Frame::data(Bytes::from_static(b"four")))).await.unwrap();
            }
        };
        let ((), (_, _, said)) = futures::future::join(sending, send(version, address, post(body))).await;
        assert_eq!(said, "None 12", "{version:?}: the length is not known before the end");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_whatever_the_actor_does_first() {
    let (_server, address) = Server::with_link(echo(), &[]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let mut said = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("it need not send the body first").unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("an answer").unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("body"), "{rest}");
}

/// Answers with the length of the body, which it reads once it is let.
fn gated() -> (Arc<dyn Caller>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let seen = gate.clone();
    let actor = actor(move |call| {
        let gate = seen.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            let body = call.body.collect(1 << 30).await?;
            Ok(answer(StatusCode::OK, Bytes::from(body.len().to_string()).into()))
        })
    });
    (actor, gate)
}

#[tokio::test]
async fn a_client_of_http1_is_not_read_faster_than_the_actor_reads() {
    let (_server, address) = Server::with_link(
        actor(|call| {
            Box::pin(async move {
                let _unread = call.body;
                std::future::pending::<Reply>().await
            })
        }),
        &[],
    )
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0_usize;
    while let Ok(written) = timeout(Duration::from_millis(500), stream.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "the server buffers without bound");
    }
}

#[tokio::test]
async fn a_stream_of_http2_is_not_read_faster_than_the_actor_reads() {
    const LENGTH: usize = 3 << 20;
    let (actor, gate) = gated();
    let (_server, address) = Server::with_link(actor, &[]).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://a/").body(()).unwrap();
    let (response, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    // What the server read before this is said to it was read when it has answered.
    timeout(PATIENCE, pings.ping(h2::Ping::opaque())).await.expect("an answer").unwrap();

    body.reserve_capacity(LENGTH);
    let mut sent = 0;
    while sent < STREAM_WINDOW_BYTES {
        let room = timeout(PATIENCE, poll_fn(|cx| body.poll_capacity(cx))).await.expect("room").unwrap().unwrap();
        body.send_data(Bytes::from(vec![0; room]), false).unwrap();
        sent += room;
    }
    assert_eq!(sent, STREAM_WINDOW_BYTES);
    timeout(PATIENCE, pings.ping(h2::Ping::opaque())).await.expect("an answer").unwrap();
    assert_eq!(body.capacity(), 0, "nobody has read anything");

    gate.add_permits(1);
    while sent < LENGTH {
        let room = timeout(PATIENCE, poll_fn(|cx| body.poll_capacity(cx))).await.expect("room").unwrap().unwrap();
        sent += room;
        body.send_data(Bytes::from(vec![0; room]), sent == LENGTH).unwrap();
    }
    let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
    let mut body = response.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), LENGTH.to_string());
}

/// Answers without end, and counts the pieces of [`STREAM_WINDOW_BYTES`] that it was asked for.
fn endless() -> (Arc<dyn Caller>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let actor = actor(move |_| {
        let count = count.clone();
        let pieces = futures::stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; STREAM_WINDOW_BYTES])))
        });
        Box::pin(async { Ok(answer(StatusCode::OK, Body::stream(StreamBody::new(pieces)))) })
    });
    (actor, asked)
}

#[tokio::test]
async fn an_actor_is_not_asked_for_more_than_a_client_of_http2_takes() {
    let (actor, asked) = endless();
    let (_server, address) = Server::with_link(actor, &[]).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(()).unwrap();
    let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
    let mut body = timeout(PATIENCE, response).await.expect("an answer").unwrap().into_body();
    // Until the client gives room, its window is all that comes.
    let mut window = 65_535;
    for _ in 0..16 {
        while window > 0 {
            let data = timeout(PATIENCE, body.data()).await.expect("data").unwrap().unwrap();
            window -= data.len();
        }
        timeout(PATIENCE, pings.ping(h2::Ping::opaque())).await.expect("an answer").unwrap();
        let (taken, asked) = (body.flow_control().used_capacity(), asked.load(Ordering::Relaxed));
        assert!(asked >= 1 && taken <= 65_535, "{taken}");
        window = taken;
        body.flow_control().release_capacity(taken).unwrap();
    }
    let taken = 17 * 65_535;
    let asked = asked.load(Ordering::Relaxed) * STREAM_WINDOW_BYTES;
    assert!(asked <= taken + 4 * STREAM_WINDOW_BYTES, "{asked} bytes were made, of which {taken} could be taken");
}

#[tokio::test]
async fn a_body_over_the_limit_of_its_link_is_413() {
    let (_server, address) = Server::with_link(measuring(), &[("body_limit", "1KiB")]).await;
    for version in VERSIONS {
        let sized = |length: usize| post(Bytes::from(vec![b'x'; length]).into());
        assert_eq!(send(version, address, sized(1_024)).await.0, StatusCode::OK, "{version:?}");
        assert_eq!(send(version, address, sized(1_025)).await.0, StatusCode::PAYLOAD_TOO_LARGE, "{version:?}");
        // One that does not say how long it is, and does not end.
        let (mut frames, body) = piecewise();
        let mut client = Client::connect(version, address).await;
        let sending = async { frames.send(Ok(Frame::data(Bytes::from(vec![b'x'; 1_025])))).await };
        let (sent, response) = futures::future::join(sending, client.send(post(body))).await;
        sent.unwrap();
        assert_eq!(response.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE, "{version:?}");
        if version == Version::Http2 {
            assert_eq!(client.send(sized(1)).await.unwrap().status(), StatusCode::OK, "the connection goes on");
        }
    }
}

#[tokio::test]
async fn a_response_body_that_fails_breaks_off_the_connection_or_the_stream() {
    let failing = actor(|call| {
        Box::pin(async move {
            let Args::Request(parts) = call.args else { panic!("a request") };
            if parts.uri.path() == "/whole" {
                return Ok(answer(StatusCode::OK, Bytes::from_static(b"whole").into()));
            }
            let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(CallError::trap("guest trapped"))];
            Ok(answer(StatusCode::OK, Body::stream(StreamBody::new(futures::stream::iter(frames)))))
        })
    });
    let (_server, address) = Server::with_link(failing, &[]).await;
    for version in VERSIONS {
        let mut client = Client::connect(version, address).await;
        match client.send(request("a", "/")).await {
            Ok(response) => {
                let read = timeout(PATIENCE, response.collect()).await.expect("an end");
                assert!(read.is_err(), "{version:?}: half a body for a whole one");
            }
            // The stream may be reset before its head was read.
            Err(error) => assert!(version == Version::Http2 || error.is_incomplete_message(), "{error}"),
        }
        if version == Version::Http2 {
            let response = client.send(request("a", "/whole")).await.expect("the connection goes on");
            assert_eq!(text(response.into_body()).await, "whole");
        }
    }
}

/// How a call ended: with so many bytes, with an error, or, without an outcome, as it was cancelled.
struct Ended {
    outcome: Option<Result<usize, CallErrorKind>>,
    told: UnboundedSender<Option<Result<usize, CallErrorKind>>>,
}

impl Ended {
    fn with(&mut self, outcome: Result<usize, CallErrorKind>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.told.send(self.outcome);
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_no_whole_one_for_the_actor() {
    let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let reading = actor(move |call| {
        let mut ended = Ended { outcome: None, told: told.clone() };
        Box::pin(async move {
            let read = call.body.collect(1 << 20).await;
            ended.with(read.as_ref().map(Bytes::len).map_err(|error| error.kind));
            read.map(|_| answer(StatusCode::OK, Body::Empty))
        })
    });
    let (_server, address) = Server::with_link(reading, &[]).await;
    for version in VERSIONS {
        let (mut frames, body) = piecewise();
        let mut client = Client::connect(version, address).await;
        let sending = async {
            frames.send(Ok(Frame::data(Bytes::from_static(b"half")))).await.unwrap();
            frames.send(Err(CallError::provider("the client has no more"))).await.unwrap();
        };
        let ((), sent) = futures::future::join(sending, client.send(post(body))).await;
        assert!(sent.is_err(), "{version:?}: {sent:?}");
        drop(client);
        let ended = timeout(PATIENCE, seen.recv()).await.expect("the call ends").unwrap();
        assert!(!matches!(ended, Some(Ok(_))), "{version:?}: the actor took half a body for {ended:?}");
    }
}

/// Answers with the body and the trailers that it is sent, and says in the head that they come.
fn trailing() -> Arc<dyn Caller> {
    actor(|call: Call<Args>| {
        Box::pin(async {
            let mut answer = answer(StatusCode::OK, call.body);
            let Answer { value: Args::Response(parts), .. } = &mut answer else { panic!("a response") };
            parts.headers.insert(header::TRAILER, HeaderValue::from_static("x-sum"));
            Ok(answer)
        })
    })
}

/// The trailers of the answer to a body with trailers.
async fn trailers_of(client: &mut Client, fields: &[(&'static str, &'static str)]) -> Option<HeaderMap> {
    let trailers: HeaderMap = [("x-sum", "42"), ("x-other", "43")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
    let frames = [Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))];
    let mut request = post(Body::stream(StreamBody::new(futures::stream::iter(frames))));
    for &(name, value) in fields {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let body = client.send(request).await.unwrap().into_body();
    let collected = timeout(PATIENCE, body.collect()).await.expect("an end").unwrap();
    let trailers = collected.trailers().cloned();
    assert_eq!(collected.to_bytes(), "body");
    trailers
}

#[tokio::test]
async fn trailers_pass_where_the_version_lets_them() {
    let (_server, address) = Server::with_link(trailing(), &[]).await;
    let names = |trailers: Option<HeaderMap>| {
        let mut names: Vec<_> = trailers.iter().flat_map(HeaderMap::keys).map(ToString::to_string).collect();
        names.sort_unstable();
        names
    };
    let mut client = Client::connect(Version::Http2, address).await;
    assert_eq!(names(trailers_of(&mut client, &[]).await), ["x-other", "x-sum"], "whatever the heads say");
    // With HTTP/1.1 a sender announces them (`Trailer`), and a client says that it wants them.
    let announced = [("trailer", "x-sum"), ("trailer", "x-other")];
    let mut client = Client::connect(Version::Http1, address).await;
    let wanted = [&announced[..], &[("te", "trailers")]].concat();
    assert_eq!(names(trailers_of(&mut client, &wanted).await), ["x-sum"], "the actor announced that one only");
    let mut client = Client::connect(Version::Http1, address).await;
    assert_eq!(names(trailers_of(&mut client, &announced).await), [""; 0], "a client that did not ask for them");
}

#[tokio::test]
async fn a_body_that_is_not_read_does_not_keep_its_answer() {
    let refusing = actor(|_| Box::pin(async { Err(CallError::new(CallErrorKind::Denied, "no")) }));
    let (_server, address) = Server::with_link(refusing, &[]).await;
    for version in VERSIONS {
        let (_frames, body) = piecewise();
        let response = Client::connect(version, address).await.send(post(body)).await.expect("before the body ends");
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{version:?}");
    }
}
