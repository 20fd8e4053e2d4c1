//! What is particular to a folder: nothing leads out of it, and what is in it is whole.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use trellis_provider_sdk::CallErrorKind;
use trellis_provider_sdk::testing::SmallDisk;

use crate::support::{Actor, World, frames, until};

async fn actor(world: &World) -> Actor {
    let actor = world.actor("a", &[]).await;
    actor.create("c").await.unwrap();
    actor
}

#[tokio::test(flavor = "multi_thread")]
async fn symbolic_links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let canary = outside.path().join("canary");
    fs::write(&canary, "canary").unwrap();
    let world = World::folder();
    let actor = actor(&world).await;
    let container = world.data.path().join("c");
    symlink(&canary, container.join("file")).unwrap();
    symlink(outside.path(), container.join("folder")).unwrap();
    symlink(outside.path(), world.data.path().join("linked")).unwrap();

    for object in ["file", "folder/canary", "folder"] {
        assert_eq!(actor.has(object).await, Ok(false), "{object}");
        assert!(actor.get(object).await.is_err(), "{object}");
        actor.delete(&[object]).await.unwrap();
        assert!(actor.copy(("c", object), ("c", "copy")).await.is_err());
        assert!(actor.rename(("c", object), ("c", "moved")).await.is_err());
    }
    assert!(actor.put("folder/new", b"1").await.is_err());
    assert_eq!(actor.exists("linked").await, Ok(false));
    assert!(actor.create("linked").await.is_err());
    assert!(actor.get_in("linked", "canary").await.is_err());
    actor.delete_container("linked").await.unwrap();
    assert!(actor.list(10).await.is_empty());
    actor.put("file", b"mine").await.unwrap();
    assert_eq!(actor.get("file").await, Ok(Bytes::from_static(b"mine")), "the link itself is replaced");
    actor.clear("c").await.unwrap();
    assert_eq!(fs::read_to_string(&canary).unwrap(), "canary");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_no_object() {
    let world = World::folder();
    let actor = actor(&world).await;
    let pipe = world.data.path().join("c/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(actor.has("pipe").await, Ok(false));
    assert!(actor.get("pipe").await.is_err());
    assert!(actor.list(10).await.is_empty());
    actor.delete(&["pipe"]).await.unwrap();
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_of_a_folder_or_of_an_object() {
    let world = World::folder();
    let actor = actor(&world).await;
    actor.put("a", b"1").await.unwrap();
    let error = actor.put("a/b", b"2").await.unwrap_err();
    assert!(error.contains("\"a/b\"") && error.contains("slash"), "{error}");
    actor.put("d/e", b"1").await.unwrap();
    assert!(actor.put("d", b"2").await.unwrap_err().contains("\"d\""));
    assert_eq!(actor.has("d").await, Ok(false));
    actor.delete(&["d"]).await.unwrap();
    assert_eq!(actor.get("d/e").await, Ok(Bytes::from_static(b"1")));
    actor.delete(&["d/e"]).await.unwrap();
    actor.put("d", b"2").await.unwrap();
    assert_eq!(actor.get("d").await, Ok(Bytes::from_static(b"2")), "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_as_long_as_they_are_on_s3() {
    let world = World::folder();
    let actor = actor(&world).await;
    let part = "l".repeat(255);
    let name = [part.as_str(); 4].join("/");
    actor.put(&name, b"1").await.unwrap();
    assert_eq!(actor.list(10).await, [name.as_str()]);
    assert_eq!(actor.get(&name).await, Ok(Bytes::from_static(b"1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_objects() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("photos/2026")).unwrap();
    fs::write(root.path().join("photos/2026/a.jpg"), "jpeg").unwrap();
    let world = World::folder();
    let actor = world.actor("a", &[("root", root.path().to_str().unwrap()), ("read_only", "true")]).await;
    assert_eq!(actor.get_in("photos", "2026/a.jpg").await, Ok(Bytes::from_static(b"jpeg")));
    assert!(!root.path().join(".staging").exists(), "who only reads leaves no trace");
    let lost = world.link("b", &[("root", "/no/such/folder")]).await.unwrap_err().to_string();
    assert!(lost.contains("/no/such/folder"), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_object_or_the_new_one() {
    let world = World::folder();
    let actor = actor(&world).await;
    let of = |digit: u8| vec![digit; 700_000];
    actor.put("o", &of(0)).await.unwrap();
    let writer = actor.clone();
    let writing = tokio::spawn(async move {
        for digit in 1..30 {
            writer.put("o", &of(digit)).await.unwrap();
        }
    });
    let mut last = 0;
    while !writing.is_finished() {
        let bytes = actor.get("o").await.unwrap();
        assert!(bytes.len() == 700_000 && bytes.iter().all(|byte| *byte == bytes[0]) && bytes[0] >= last);
        last = bytes[0];
    }
    writing.await.unwrap();
    assert_eq!(actor.get("o").await.unwrap()[0], 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_write_and_delete_below_one_name() {
    let world = World::folder();
    let actor = actor(&world).await;
    let writers = (0..8).map(|number| {
        let actor = actor.clone();
        tokio::spawn(async move {
            let name = format!("deep/er/{number}");
            for _ in 0..25 {
                actor.put(&name, b"1").await.unwrap();
                actor.delete(&[&name]).await.unwrap();
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    assert!(actor.list(10).await.is_empty());
    assert_eq!(fs::read_dir(world.data.path().join("c")).unwrap().count(), 0, "empty folders are removed");
}

fn staged(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(".staging")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_behind_is_removed() {
    let world = World::folder();
    let actor = actor(&world).await;
    let endless = actor.clone();
    let writing = tokio::spawn(async move {
        let first = Ok(http_body::Frame::data(Bytes::from(vec![1; 1 << 20])));
        let frames = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
        let body = trellis_provider_sdk::Body::stream(http_body_util::StreamBody::new(frames));
        endless.write("c", "o", body).await
    });
    let root = world.data.path();
    until("a file that is begun", async || {
        if root.join(".staging").exists() && !staged(root).is_empty() { Ok(()) } else { Err(String::new()) }
    })
    .await;
    writing.abort();
    until("no file", async || if staged(root).is_empty() { Ok(()) } else { Err(format!("{:?}", staged(root))) }).await;

    let old = root.join(".staging/of-a-killed-process");
    let young = root.join(".staging/of-a-live-one");
    fs::write(&old, "").unwrap();
    fs::write(&young, "").unwrap();
    let yesterday = SystemTime::now() - Duration::from_hours(25);
    fs::File::options().write(true).open(&old).unwrap().set_modified(yesterday).unwrap();
    let again = World::folder();
    again.link("a", &[("root", root.to_str().unwrap())]).await.unwrap();
    assert_eq!(staged(root), [young]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_write_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let _disk = SmallDisk::mount(folder.path(), 4);
    let world = World::folder();
    let actor = world.actor("a", &[("root", folder.path().to_str().unwrap())]).await;
    let other = world.actor("other", &[]).await;
    other.create("c").await.unwrap();
    actor.create("c").await.unwrap();
    actor.put("o", &vec![1; 1 << 20]).await.unwrap();
    let piece = Bytes::from(vec![2; 1 << 20]);
    for object in ["o", "p"] {
        let error = actor.write("c", object, frames(vec![Ok(piece.clone()); 8])).await.unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Provider);
        assert!(error.message.contains("No space left"), "{error}");
    }
    assert_eq!(actor.list(10).await, ["o"]);
    assert_eq!(actor.get("o").await.unwrap(), vec![1; 1 << 20]);
    actor.put("p", &vec![3; 2 << 20]).await.unwrap();
    other.put("o", b"elsewhere").await.unwrap();
}
