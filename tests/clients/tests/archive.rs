//! Archives of providers: what `trellis par` makes is read by the crate that wasmCloud 1.x publishes for them, and what
//! that crate makes by `trellis par`.

use std::path::{Path, PathBuf};
use std::process::Command;

use nkeys::KeyPair;
use provider_archive::ProviderArchive;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Programs that are none: an archive does not look into them.
const OTHER: &[u8] = b"for another machine";

fn own_target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// A folder with keys and archives.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `trellis par`, and gives what it prints.
    fn par(&self, arguments: &[&str]) -> Value {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/trellis");
        let trellis = std::env::var_os("TRELLIS_BINARY").map_or_else(beside, PathBuf::from);
        let mut command = Command::new(trellis);
        command.env_clear().env("TRELLIS_DATA_DIR", self.0.path()).current_dir(self.0.path());
        let output = command.arg("par").args(arguments).args(["--output", "json"]).output().expect("trellis runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// An archive that the published crate makes, with everything that it may have.
    async fn foreign(&self, name: &str, is_compressed: bool) -> (KeyPair, KeyPair) {
        let (issuer, subject) = (KeyPair::new_account(), KeyPair::new_service());
        let mut archive = ProviderArchive::new("dice", "acme", Some(3), Some("1.2.3".to_owned()));
        archive.add_library(&own_target(), b"a program").expect("added");
        archive.add_library("riscv64-linux", OTHER).expect("added");
        archive.add_wit_world(b"a world").expect("added");
        archive.set_schema(json!({"type": "object"})).expect("set");
        archive.write(self.path(name), &issuer, &subject, is_compressed).await.expect("written");
        (issuer, subject)
    }
}

#[tokio::test]
async fn what_trellis_makes_is_read_by_others() {
    let desk = Desk::new();
    std::fs::write(desk.path("dice"), "a program").expect("written");
    std::fs::write(desk.path("other"), OTHER).expect("written");
    let made = desk.par(&["create", "dice", "--vendor", "acme", "--rev", "3", "--ver", "1.2.3"]);
    desk.par(&["insert", "dice.par", "other", "--target", "riscv64-linux"]);

    let archive = ProviderArchive::try_load_file(desk.path("dice.par")).await.expect("an archive");
    let mut targets = archive.targets();
    targets.sort();
    assert_eq!(targets, ["riscv64-linux".to_owned(), own_target()]);
    assert_eq!(archive.target_bytes(&own_target()).as_deref(), Some(&b"a program"[..]));
    assert_eq!(archive.target_bytes("riscv64-linux").as_deref(), Some(OTHER));
    let claims = archive.claims().expect("has claims");
    assert_eq!((json!(claims.issuer), json!(claims.subject)), (made["issuer"].clone(), made["subject"].clone()));
    let metadata = claims.metadata.expect("says what it is");
    assert_eq!((metadata.name.as_deref(), &*metadata.vendor), (Some("dice"), "acme"));
    assert_eq!((metadata.rev, metadata.ver.as_deref()), (Some(3), Some("1.2.3")));
    let one = ProviderArchive::try_load_target_from_file(desk.path("dice.par"), "riscv64-linux").await.expect("loads");
    assert_eq!(one.target_bytes("riscv64-linux").as_deref(), Some(OTHER));
}

#[tokio::test]
async fn what_others_make_is_read_by_trellis() {
    let desk = Desk::new();
    for (name, is_compressed) in [("dice.par", false), ("dice.par.gz", true)] {
        let (issuer, subject) = desk.foreign(name, is_compressed).await;
        let shown = desk.par(&["inspect", name]);
        assert_eq!((&shown["issuer"], &shown["subject"]), (&json!(issuer.public_key()), &json!(subject.public_key())));
        assert_eq!((&shown["name"], &shown["vendor"]), (&json!("dice"), &json!("acme")));
        assert_eq!((&shown["revision"], &shown["version"]), (&json!(3), &json!("1.2.3")));
        let targets = json!({ (own_target()): "9 bytes, as signed", "riscv64-linux": "19 bytes, as signed" });
        assert_eq!((&shown["targets"], &shown["world"]), (&targets, &json!("7 bytes, as signed")));
        assert_eq!(shown["config_schema"], json!({"type": "object"}));
    }
}

#[tokio::test]
async fn what_is_signed_anew_keeps_all_that_was_in_it() {
    let desk = Desk::new();
    desk.foreign("dice.par", false).await;
    std::fs::write(desk.path("third"), "a third").expect("written");
    desk.par(&["insert", "dice.par", "third", "--target", "aarch64-macos"]);
    let archive = ProviderArchive::try_load_file(desk.path("dice.par")).await.expect("an archive");
    assert_eq!(archive.targets().len(), 3);
    assert_eq!(archive.wit_world(), Some(&b"a world"[..]));
    assert_eq!(archive.schema(), Some(json!({"type": "object"})));
}
