//! Objects larger than memory may be: peak memory is measured, that of the S3 server in this process included.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use trellis_interfaces::blobstore::{Data, function};
use trellis_provider_sdk::{Body, CallError};

use crate::support::World;

/// The size of the object.
const OBJECT_BYTES: u64 = 384 << 20;
/// What the process may grow by.
const MAX_GROWTH_BYTES: u64 = 128 << 20;
/// The size of a piece of the body.
const PIECE: usize = 256 << 10;

/// The most that this process had in memory since [`forget`].
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// Measures from here on.
fn forget() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
    peak_bytes()
}

/// A body of [`OBJECT_BYTES`], each piece made when it is wanted.
fn large() -> Body {
    let pieces = (0..OBJECT_BYTES / PIECE as u64).map(|nth| {
        let piece = Bytes::from(vec![nth.to_le_bytes()[0]; PIECE]);
        Ok::<_, CallError>(Frame::data(piece))
    });
    Body::stream(StreamBody::new(futures::stream::iter(pieces)))
}

async fn passes_in_little_memory(world: World) {
    let mut actor = world.actor("a", &[]).await;
    actor.budget = Duration::from_secs(120);
    actor.create("c").await.unwrap();
    let before = forget();
    actor.write("c", "large", large()).await.unwrap().unwrap();
    let args = ("c", "large", 0_u64, u64::MAX);
    let (Data { size }, mut body) = actor.send::<Data>(function::GET_DATA, &args, Body::Empty).await.unwrap().unwrap();
    assert_eq!(size, OBJECT_BYTES);
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        for at in [0, data.len() - 1] {
            let nth = (read + at as u64) / PIECE as u64;
            assert_eq!(data[at], nth.to_le_bytes()[0], "byte {at} after {read}");
        }
        read += data.len() as u64;
    }
    assert_eq!(read, OBJECT_BYTES);
    let growth = peak_bytes().saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES, "grew by {} MiB", growth >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_larger_than_memory_may_be_passes_through_s3() {
    passes_in_little_memory(World::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_larger_than_memory_may_be_passes_through_a_folder() {
    passes_in_little_memory(World::folder()).await;
}
