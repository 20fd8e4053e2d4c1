//! Blobs through an actor: of any size in little memory, and there after a restart.

use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::support::app::App;
use crate::support::http;
use crate::support::lattice::{Lattice, path};

const LENGTH_BYTES: u64 = 64 << 20;
/// How much memory a host may take for a file that it neither keeps nor knows the size of.
const GROWTH_BYTES: u64 = 24 << 20;
const PIECE_BYTES: u64 = 60_000;

/// The byte at a place of the file, which is another one in each piece.
fn byte_at(at: u64) -> u8 {
    (at / PIECE_BYTES % 251) as u8
}

/// A file of that length, made while it is sent.
struct Made {
    at: u64,
}

impl http_body::Body for Made {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = PIECE_BYTES.min(LENGTH_BYTES - self.at);
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = vec![byte_at(self.at); usize::try_from(length).expect("is small")];
        self.at += length;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(LENGTH_BYTES - self.at)
    }
}

impl Lattice {
    fn put_made(&self, path: &str) -> StatusCode {
        let request = Request::put(path).header("host", self.address.to_string()).body(Made { at: 0 }).expect("valid");
        self.runtime.block_on(http::send(self.address, request)).expect("an answer").status()
    }

    /// Reads the file to its end and compares it; how many bytes there were.
    fn read_made(&self, path: &str) -> u64 {
        self.runtime.block_on(async {
            let request = Request::get(path)
                .header("host", self.address.to_string())
                .body(http_body_util::Empty::<Bytes>::new())
                .expect("valid");
            let response = http::send(self.address, request).await.expect("an answer");
            assert_eq!(response.headers()["content-length"], LENGTH_BYTES.to_string().as_str());
            let (mut body, mut read) = (response.into_body(), 0);
            while let Some(frame) = body.frame().await {
                let data = frame.expect("it goes on to its end").into_data().expect("no trailers");
                for (at, byte) in (read..).zip(&data) {
                    assert_eq!(*byte, byte_at(at), "at {at}");
                }
                read += data.len() as u64;
            }
            read
        })
    }

    fn ask(&self, method: Method, path: &str, body: &'static str) -> (u16, String) {
        self.runtime.block_on(http::request(self.address, method, path, body.into())).expect("an answer")
    }
}

#[test]
fn files_of_any_size_are_kept_and_given_back_in_little_memory() {
    let lattice = Lattice::one_box(&[]);
    let manifest = App::example(&lattice, "files", &["wasi:blobstore/*"]).write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert_eq!(lattice.ask(Method::PUT, "/a/small%20one.txt", "hello").0, 201);
    assert_eq!(lattice.get("/a/small%20one.txt"), (200, "hello".to_owned()));
    let before = lattice.servers[0].resident_bytes();

    assert_eq!(lattice.put_made("/large"), 201);
    assert_eq!(lattice.read_made("/large"), LENGTH_BYTES);

    let growth = lattice.servers[0].resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES, "the host grew by {} MiB", growth >> 20);
    assert_eq!(lattice.get("/"), (200, "a/small one.txt\nlarge\n".to_owned()));
    assert_eq!(lattice.ask(Method::DELETE, "/large", "").0, 200);
    assert_eq!(lattice.get("/large").0, 404);
    for name in ["/../keys", "/%2e%2e/keys", "/a//b", "/a%00b"] {
        let (status, text) = lattice.ask(Method::PUT, name, "x");
        assert!(status == 500 && text.contains("object name"), "{name}: {status} {text}");
    }
    assert_eq!(lattice.get("/"), (200, "a/small one.txt\n".to_owned()));
}
