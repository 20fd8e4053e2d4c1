//! Bodies over the lattice: chunks, credits, and ends on either side.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use trellis_lattice::body::Body;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::wire::WINDOW_BYTES;

use crate::support::{Net, call, drain, on_both, pair, produced, until};

const LARGE: u64 = 64 * 1024 * 1024;

async fn large_bodies_stream_both_ways_at_once_in_flat_memory(net: &Net) {
    let (caller, server, _) = pair(net).await;
    let mut invocation = call("echo", "value");
    invocation.body = produced(LARGE);
    let answer = caller.call(invocation).await.unwrap();
    assert_eq!(drain(answer.body).await.unwrap().0, LARGE);
    for peer in [caller, server] {
        let (now, most) = peer.buffered_bytes();
        assert_eq!(now, 0);
        assert!((1..=WINDOW_BYTES).contains(&most), "{most}");
    }
}

async fn bodies_of_every_size_arrive_whole(net: &Net) {
    let (caller, server, _) = pair(net).await;
    for len in [0, 1, 65_536, 500_000, 520_192, 524_288, 600_000, 1_048_576, 3_000_001] {
        let mut invocation = call("count", "");
        invocation.body = Bytes::from(vec![7; usize::try_from(len).unwrap()]).into();
        assert_eq!(caller.call(invocation).await.unwrap().value[..], u64::to_be_bytes(len));
        let answer = caller.call(call("produce", u64::to_be_bytes(len).to_vec())).await.unwrap();
        assert_eq!(drain(answer.body).await.unwrap().0, len);
    }
    until("no call is left", || server.in_service() == 0).await;
}

async fn values_that_do_not_fit_in_a_frame_arrive_all_the_same(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let value = Bytes::from(vec![9; 2_000_000]);
    let answer = caller.call(call("echo", value.clone())).await.unwrap();
    assert_eq!(answer.value, value);
    assert!(matches!(answer.body, Body::Empty));
    let mut invocation = call("echo", value.clone());
    invocation.body = produced(1_000_000);
    let answer = caller.call(invocation).await.unwrap();
    assert_eq!(answer.value, value);
    assert_eq!(drain(answer.body).await.unwrap().0, 1_000_000);
    let error = caller.call(call("echo", vec![0; 17 * 1024 * 1024])).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::TooLarge);
}

async fn trailers_follow_the_body(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("abc"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers.clone()))];
    let mut invocation = call("echo", "");
    invocation.body = Body::stream(StreamBody::new(futures::stream::iter(frames)));
    let answer = caller.call(invocation).await.unwrap();
    assert_eq!(drain(answer.body).await.unwrap(), (4, Some(trailers)));
}

async fn a_body_that_breaks_off_says_why(net: &Net) {
    let (caller, _server, _) = pair(net).await;
    let answer = caller.call(call("break", "")).await.unwrap();
    let error = drain(answer.body).await.unwrap_err();
    assert_eq!((error.kind, &*error.message), (CallErrorKind::Trap, "guest trapped in its body"));
    let mut invocation = call("count", "");
    let frames = [Ok(Frame::data(Bytes::from_static(b"data"))), Err(CallError::provider("disk full"))];
    invocation.body = Body::stream(StreamBody::new(futures::stream::iter(frames)));
    assert_eq!(caller.call(invocation).await.unwrap_err().message, "disk full");
}

async fn a_body_that_nobody_reads_stops(net: &Net) {
    let (caller, server, functions) = pair(net).await;
    let mut answer = caller.call(call("produce", LARGE.to_be_bytes().to_vec())).await.unwrap();
    assert!(answer.body.frame().await.is_some());
    drop(answer);
    until("the server has stopped", || server.in_service() == 0).await;
    let mut invocation = call("ignore", "");
    invocation.body = produced(LARGE);
    caller.call(invocation).await.unwrap();
    until("nothing is left", || server.buffered_bytes().0 == 0 && server.in_service() == 0).await;
    assert_eq!(functions.running.load(Ordering::SeqCst), 0);
    assert_eq!(caller.buffered_bytes().0, 0);
}

on_both!(
    large_bodies_stream_both_ways_at_once_in_flat_memory,
    bodies_of_every_size_arrive_whole,
    values_that_do_not_fit_in_a_frame_arrive_all_the_same,
    trailers_follow_the_body,
    a_body_that_breaks_off_says_why,
    a_body_that_nobody_reads_stops,
);
