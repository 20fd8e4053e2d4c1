//! Floods of HTTP/2: the connection ends or the request is refused, and others are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trellis_provider_sdk::Caller;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, POST, RST_STREAM, frame, preface,
    read_frame,
};
use super::usage::Usage;
use crate::support::{PATIENCE, Server, actor, hello};

/// Writes what `next` makes until the server has had enough; how many times.
async fn flood(server: &Server, start: &[Vec<u8>], mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let (mut reading, mut writing) = server.connect().await.into_split();
    let drained = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = reading.read_to_end(&mut said).await;
        said
    });
    let written = async {
        writing.write_all(&preface()).await.unwrap();
        for frame in start {
            writing.write_all(frame).await.unwrap();
        }
        for n in 0.. {
            if writing.write_all(&next(n)).await.is_err() || drained.is_finished() {
                return n;
            }
        }
        u32::MAX
    };
    timeout(PATIENCE, written).await.expect("the server ends the connection")
}

fn counting() -> (Arc<dyn Caller>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let actor = actor(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    });
    (actor, calls)
}

#[tokio::test]
async fn a_head_that_is_continued_without_end_ends_the_connection() {
    let server = Server::linked(hello(), &[]).await;
    let start = [frame(HEADERS, END_STREAM, 1, GET)];
    // A literal header without indexing, over and over.
    let mut piece = Vec::new();
    for _ in 0..200 {
        piece.extend(b"\0\x01a\x01b");
    }
    let before = Usage::begin();
    let written = flood(&server, &start, |_| frame(CONTINUATION, 0, 1, &piece)).await;
    assert!(written < 1_000, "{written} frames were taken");
    let written = flood(&server, &start, |_| frame(CONTINUATION, 0, 1, &[])).await;
    assert!(written < 100_000, "{written} empty frames were taken");
    before.check("CONTINUATION flood");
    assert_eq!(server.status("/").await, 200);
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let (actor, calls) = counting();
    let server = Server::linked(actor, &[]).await;
    let before = Usage::begin();
    let written = flood(&server, &[], |n| {
        let stream = 2 * n + 1;
        let mut both = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        both.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        both
    })
    .await;
    assert!(written < 100_000, "{written} streams were taken");
    before.check("rapid reset");
    assert!(calls.load(Ordering::Relaxed) < 10_000, "{calls:?} calls were made");
}

#[tokio::test]
async fn frames_without_data_end_the_connection() {
    let server = Server::linked(hello(), &[("stall_timeout", "300ms"), ("header_timeout", "300ms")]).await;
    let start = [frame(HEADERS, END_HEADERS, 1, POST)];
    let before = Usage::begin();
    let written = flood(&server, &start, |_| frame(DATA, 0, 1, &[]).repeat(100)).await;
    assert!(written < 100_000, "{written} hundreds of frames were taken");
    before.check("flood of empty DATA");
    assert_eq!(server.status("/").await, 200);
}

/// The status that the server answers stream 1 with, or none when it resets it or goes away.
pub(crate) async fn asked(mut stream: TcpStream, head: &[u8]) -> Option<u8> {
    stream.write_all(&preface()).await.unwrap();
    let mut pieces = head.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let end_headers = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let end_stream = if kind == HEADERS { END_STREAM } else { 0 };
        let _ = stream.write_all(&frame(kind, end_headers | end_stream, 1, piece)).await;
        kind = CONTINUATION;
    }
    loop {
        match timeout(PATIENCE, read_frame(&mut stream)).await.expect("an answer")? {
            (HEADERS, _, payload) => return payload.first().copied(),
            (RST_STREAM | GOAWAY, ..) => return None,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_head_that_is_small_on_the_wire_and_large_here_is_refused() {
    // `:status 200` by its index.
    const OK: Option<u8> = Some(0x88);
    let server = Server::linked(hello(), &[]).await;
    assert_eq!(asked(server.connect().await, GET).await, OK);
    // A header of 3,000 bytes goes into the table once, and is taken from it again and again.
    let mut bomb = GET.to_vec();
    bomb.extend(b"\x40\x01a\x7f\xb9\x16");
    bomb.extend([b'x'; 3_000]);
    let small = bomb.clone();
    assert_eq!(asked(server.connect().await, &small).await, OK);
    bomb.extend([0xbe; 10_000]);
    assert_ne!(asked(server.connect().await, &bomb).await, OK);
    let mut many = GET.to_vec();
    for _ in 0..5_000 {
        many.extend(b"\0\x01a\x01b");
    }
    assert_ne!(asked(server.connect().await, &many).await, OK);
    assert_eq!(server.status("/").await, 200);
}

#[tokio::test]
async fn a_request_is_for_one_host_in_http2_as_well() {
    let server = Server::linked(hello(), &[]).await;
    let other_host = [GET, b"\x66\x01b"].concat();
    assert_ne!(asked(server.connect().await, &other_host).await, Some(0x88));
    let same_host = [GET, b"\x66\x01a"].concat();
    assert_eq!(asked(server.connect().await, &same_host).await, Some(0x88));
    // `connection: x` and `transfer-encoding: chunked` are not for HTTP/2.
    for name in ["connection", "transfer-encoding"] {
        let mut head = GET.to_vec();
        head.extend([0, u8::try_from(name.len()).unwrap()]);
        head.extend(name.bytes());
        head.extend(b"\x07chunked");
        assert_ne!(asked(server.connect().await, &head).await, Some(0x88), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_peer_is_asked_whether_it_is_there_and_closed_when_it_does_not_say_so() {
    let (server, _) = Server::with_link(counting().0, &[("timeout", "1h")]).await;
    for (answers, expected) in [(true, 5), (false, 1)] {
        let mut stream = server.connect().await;
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
        stream.write_all(&[preface(), request].concat()).await.unwrap();
        let mut asked = 0;
        while let Some((kind, flags, payload)) = read_frame(&mut stream).await {
            if (kind, flags) != (PING, 0) {
                continue;
            }
            asked += 1;
            if asked == 5 {
                break;
            }
            if answers {
                stream.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap();
            }
        }
        assert_eq!(asked, expected);
    }
}
