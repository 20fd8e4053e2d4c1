//! How connections are told that the server goes away.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trellis_provider_http_server::HttpServer;
use trellis_provider_sdk::testing::{config, environment};
use trellis_provider_sdk::{Caller, LinkError, Provider as _};

use super::frames::{ACK, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, frame, preface, read_frame};
use crate::support::{PATIENCE, Server, actor, answer, get, hello, named, speak};

/// Says when a call has come, and answers when it is let.
fn gated() -> (Arc<dyn Caller>, Arc<Semaphore>, Arc<Semaphore>) {
    let (arrived, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let seen = (arrived.clone(), gate.clone());
    let actor = actor(move |_| {
        let (arrived, gate) = seen.clone();
        Box::pin(async move {
            arrived.add_permits(1);
            gate.acquire().await.unwrap().forget();
            Ok(answer(StatusCode::OK, Bytes::from_static(b"done").into()))
        })
    });
    (actor, arrived, gate)
}

#[tokio::test]
async fn a_request_in_flight_is_answered_with_a_goodbye() {
    let (actor, arrived, gate) = gated();
    let server = Server::linked(actor, &[]).await;
    let mut sender = speak(server.connect().await).await;
    let in_flight = tokio::spawn(async move { sender.send_request(get("/")).await });
    let _ = timeout(PATIENCE, arrived.acquire()).await.expect("it arrives");
    let drained = server.provider.drain(PATIENCE);
    let answered = async {
        gate.add_permits(1);
        in_flight.await.unwrap().unwrap()
    };
    let ((), response) = timeout(PATIENCE, futures::future::join(drained, answered)).await.expect("drained");
    assert_eq!((response.status(), response.headers()["connection"].as_bytes()), (StatusCode::OK, &b"close"[..]));
}

#[tokio::test]
async fn a_connection_of_http2_finishes_its_streams_and_takes_no_more() {
    let (actor, arrived, gate) = gated();
    let server = Server::linked(actor, &[]).await;
    let mut stream = server.connect().await;
    let ask = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, GET);
    stream.write_all(&[preface(), ask(1)].concat()).await.unwrap();
    let _ = timeout(PATIENCE, arrived.acquire()).await.expect("it arrives");
    let answered = async {
        let (mut goodbyes, mut body) = (0, Vec::new());
        while let Some((kind, flags, payload)) = read_frame(&mut stream).await {
            match kind {
                PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap(),
                GOAWAY => {
                    goodbyes += 1;
                    // The first one lets what is on its way arrive; the second one says what was the last.
                    if goodbyes == 2 {
                        stream.write_all(&ask(3)).await.unwrap();
                        gate.add_permits(2);
                    }
                }
                HEADERS => assert_eq!(goodbyes, 2, "it says goodbye first"),
                DATA => body.extend(payload),
                _ => {}
            }
        }
        body
    };
    let drained = server.provider.drain(PATIENCE);
    let ((), body) = timeout(PATIENCE, futures::future::join(drained, answered)).await.expect("the connection ends");
    assert_eq!((&*body, arrived.available_permits()), (&b"done"[..], 1), "what came too late is not served");
}

#[tokio::test]
async fn a_first_request_that_is_on_its_way_is_answered() {
    let server = Server::linked(hello(), &[]).await;
    let stream = server.connect().await;
    // It is accepted when a later one was answered.
    assert_eq!(server.status("/").await, 200);
    let drained = server.provider.drain(PATIENCE);
    let asked = async {
        let mut sender = speak(stream).await;
        sender.send_request(get("/")).await.expect("an answer")
    };
    let ((), response) = timeout(PATIENCE, futures::future::join(drained, asked)).await.expect("drained");
    assert_eq!((response.status(), response.headers()["connection"].as_bytes()), (StatusCode::OK, &b"close"[..]));
}

#[tokio::test]
async fn the_next_process_listens_before_this_one_goes() {
    let data = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().to_string();
    // Each with listeners of its own, as in a process of its own.
    let start = || {
        let mut environment = environment("http-server", data.path(), hello());
        environment.config = config(&[("address", &address)]);
        HttpServer::start(environment, Arc::default()).unwrap()
    };
    let status = async || {
        let mut sender = speak(TcpStream::connect(&address).await.expect("somebody listens")).await;
        sender.send_request(get("/")).await.expect("an answer").status()
    };
    let mut servers = vec![start()];
    servers[0].link_up(&named("default", &[])).await.unwrap();
    for _ in 0..3 {
        let next = start();
        next.link_up(&named("default", &[])).await.expect("the socket is handed on");
        assert_eq!(status().await, StatusCode::OK);
        servers.pop().expect("one").drain(PATIENCE).await;
        assert_eq!(status().await, StatusCode::OK);
        servers.push(next);
    }
    let stranger = tempfile::tempdir().unwrap();
    let mut environment = environment("http-server", stranger.path(), hello());
    environment.config = config(&[("address", &address)]);
    let stranger = HttpServer::start(environment, Arc::default()).unwrap();
    let error = stranger.link_up(&named("default", &[])).await.expect_err("it is another provider");
    assert!(matches!(&error, LinkError::Held(reason) if reason.contains("in use")), "{error:?}");
}
