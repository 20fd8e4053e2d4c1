//! How connections are told that the server goes away.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trellis_provider_sdk::{Caller, Provider as _};

use crate::frames::{ACK, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, frame, preface, read_frame};
use crate::support::{PATIENCE, Server, actor, answer, get, speak};

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
    let server = Server::new(actor, &[]).await;
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
    let server = Server::new(actor, &[]).await;
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
