//! Components from registries: a real docker-registry, and one that cheats.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trellis_host::artifact::archive::{Programs, Statement, own_target, pack};
use trellis_host::artifact::registry::{Access, Image, ImageRef, Progress, Registries, Wanted};
use trellis_host::host::Host;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::{ScaleComponent, StartProvider};
use trellis_lattice::message::pin;
use trellis_lattice::subject::Subject;
use trellis_lattice::transport::Message;

use crate::cluster::{Cluster, eventually, now, provider, scale};
use crate::guests;

/// A docker-registry on a port of its own; killed when dropped.
struct Registry {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

/// bcrypt of `secret`.
const HTPASSWD: &str = "user:$2b$04$l2J6BrAIJ.9omwbIBapK3.v1ySWNYNPhg0Yxefjhm/yuA10m3eQrm\n";

impl Registry {
    async fn start(auth: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port").port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let path = |name: &str| dir.path().join(name).display().to_string();
        let auth = auth.map(|users| {
            std::fs::write(path("htpasswd"), users).expect("written");
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd"))
        });
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{}",
            path("data"),
            auth.unwrap_or_default()
        );
        std::fs::write(path("config.yml"), config).expect("written");
        let program = std::env::var_os("TRELLIS_DOCKER_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let child = Command::new(program)
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts: `cargo xtask test` installs it or says how");
        let registry = Self { child, address, dir };
        eventually(|| async {
            tokio::net::TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        registry
    }

    fn image(&self, name: &str) -> ImageRef {
        ImageRef::parse(&format!("{}/{name}", self.address)).expect("valid")
    }

    /// Access for those who are let in.
    fn login(&self) -> Access {
        let docker = self.dir.path().join("config.json");
        let login = format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#, self.address);
        std::fs::write(&docker, login).expect("written");
        Access { docker_config: Some(docker), insecure: Vec::new() }
    }

    /// Pushes the component in `file`; `sha256:…` of its manifest.
    async fn push(&self, registries: &Registries, name: &str, file: &Path) -> String {
        let bytes = std::fs::read(file).expect("is there").into();
        let image = Image { bytes, imports: Vec::new(), exports: vec!["test:echo/echo".to_owned()] };
        let connection = registries.connect(&self.image(name)).await.expect("connects");
        connection.push(&image, &silent()).await.expect("pushed").manifest_digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn silent() -> Progress {
    Arc::new(|_, _| ())
}

fn anonymous() -> Registries {
    Registries::new(Access::default())
}

#[tokio::test]
async fn what_was_pushed_is_pulled_and_runs_also_after_a_restart_without_the_registry() {
    let cluster = Cluster::new();
    let registry = Registry::start(None).await;
    let file = cluster.actor("echo", &guests::echo(), None);
    let digest = registry.push(&anonymous(), "acme/echo:1", &file).await;

    let told = Arc::new(Mutex::new(Vec::new()));
    let progress: Progress = {
        let told = Arc::clone(&told);
        Arc::new(move |done, total| told.lock().expect("not poisoned").push((done, total)))
    };
    let connection = anonymous().connect(&registry.image("acme/echo:1")).await.expect("connects");
    let found = connection.resolve().await.expect("resolved");
    assert_eq!(found.manifest_digest, digest);
    let bytes = connection.download(&found, &progress).await.expect("pulled");
    assert_eq!(bytes, std::fs::read(&file).expect("is there"));
    let size = bytes.len() as u64;
    assert_eq!(told.lock().expect("not poisoned").last(), Some(&(size, size)));

    let key = Key::generate(KeyKind::Host);
    let host = cluster.host_with(cluster.config("a"), key.clone()).await;
    let client = cluster.client();
    let by_tag = registry.image("acme/echo:1").to_string();
    let by_digest = registry.image("acme/echo:1").at(&digest);
    for (id, reference) in [("tagged", &by_tag), ("fixed", &by_digest)] {
        client.scale(&scale(host.id(), id, Path::new(reference), 1)).await.expect("starts");
    }
    let before = client.inventory(host.id()).await.expect("answers").components;
    assert_eq!(before.iter().map(|entry| entry.image_ref.as_str()).collect::<Vec<_>>(), [&by_digest, &by_tag]);
    host.stop(Duration::ZERO).await;
    drop(registry);
    let host = cluster.host_with(cluster.config("a"), key).await;
    eventually(|| async {
        let now = client.inventory(host.id()).await.map_err(|error| error.to_string())?.components;
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_moved_changes_nothing_that_runs() {
    let cluster = Cluster::new();
    let registry = Registry::start(None).await;
    let registries = anonymous();
    registry.push(&registries, "echo:latest", &cluster.actor("one", &guests::echo(), None)).await;
    let host = cluster.host("a").await;
    let client = cluster.client();
    let reference = registry.image("echo:latest").to_string();
    client.scale(&scale(host.id(), "echo", Path::new(&reference), 1)).await.expect("starts");
    registry.push(&registries, "echo:latest", &cluster.file("empty", b"\0asm\x0d\0\x01\0")).await;
    client.scale(&scale(host.id(), "echo", Path::new(&reference), 5)).await.expect("only the number changes");
    let error = client.scale(&scale(host.id(), "other", Path::new(&reference), 1)).await.expect_err("it is empty now");
    assert!(!error.to_string().contains("cannot pull"), "{error}");
}

#[tokio::test]
async fn a_tag_that_moved_means_what_it_is_pinned_to_on_another_host() {
    let cluster = Cluster::new();
    let registry = Registry::start(Some(HTPASSWD)).await;
    let registries = Registries::new(registry.login());
    let host = async |name: &str| {
        let mut config = cluster.config(name);
        config.registries = registry.login();
        cluster.host_with(config, Key::generate(KeyKind::Host)).await
    };
    let (a, b) = (host("a").await, host("b").await);
    let client = cluster.client();
    let digest_on = async |host: &Host, id: &str| {
        let components = client.inventory(host.id()).await.expect("answers").components;
        let entry = components.into_iter().find(|entry| entry.id.as_str() == id).expect("it runs");
        entry.digest.expect("our hosts say it")
    };
    let (tag, other) = (registry.image("echo:latest").to_string(), registry.image("echo:2").to_string());
    let (first, second) =
        (cluster.actor("one", &guests::echo(), None), cluster.actor("two", &guests::answering("2"), None));
    registry.push(&registries, "echo:latest", &first).await;
    client.scale(&scale(a.id(), "pinned", Path::new(&tag), 1)).await.expect("starts");
    let digest = digest_on(&a, "pinned").await;
    registry.push(&registries, "echo:latest", &second).await;
    registry.push(&registries, "echo:2", &second).await;

    let pinned = |id: &str, reference: &str| {
        let order = scale(b.id(), id, Path::new(reference), 1);
        let pin = pin::annotation(&tag, &digest);
        ScaleComponent { annotations: Some(order.annotations.into_iter().flatten().chain([pin]).collect()), ..order }
    };
    client.scale(&pinned("pinned", &tag)).await.expect("the registry keeps what the tag meant");
    assert_eq!(digest_on(&b, "pinned").await, digest);
    client.scale(&scale(b.id(), "free", Path::new(&tag), 1)).await.expect("starts");
    let moved = digest_on(&b, "free").await;
    assert_ne!(moved, digest, "without a pin it is what it means now");
    client.scale(&pinned("other", &other)).await.expect("starts");
    assert_eq!(digest_on(&b, "other").await, moved, "a pin is for its reference");

    let mut wrong = pinned("wrong", &tag);
    wrong.annotations = Some([pin::annotation(&tag, "../../etc")].into());
    let error = client.scale(&wrong).await.expect_err("no digest").to_string();
    assert!(error.contains("trellis.dev/pin"), "{error}");
    wrong.annotations = Some([pin::annotation(&tag, &"0".repeat(64))].into());
    let error = client.scale(&wrong).await.expect_err("nothing has that digest").to_string();
    assert!(error.contains(&tag) && error.contains("push it again"), "{error}");
}

#[tokio::test]
async fn credentials_come_from_docker_or_from_the_lattice() {
    let cluster = Cluster::new();
    let registry = Registry::start(Some(HTPASSWD)).await;
    let file = cluster.actor("echo", &guests::echo(), None);
    let logged_in = registry.login();
    registry.push(&Registries::new(logged_in.clone()), "echo:1", &file).await;

    let reference = registry.image("echo:1").to_string();
    let mut config = cluster.config("a");
    config.registries = logged_in;
    let host = cluster.host_with(config, Key::generate(KeyKind::Host)).await;
    cluster.client().scale(&scale(host.id(), "echo", Path::new(&reference), 1)).await.expect("docker knows");

    let other = cluster.host("b").await;
    let start = scale(other.id(), "echo", Path::new(&reference), 1);
    let error = cluster.client().scale(&start).await.expect_err("nobody knows").to_string();
    assert!(error.contains("docker login") && error.contains("registry.put"), "{error}");
    let put = Subject::from_wire("wasmbus.ctl.v1.test.registry.put").expect("valid");
    let credentials =
        format!(r#"{{"{}": {{"username": "user", "password": "secret", "registryType": "oci"}}}}"#, registry.address);
    cluster.transport("raw").publish(Message::new(put, credentials)).await.expect("published");
    eventually(|| async { cluster.client().scale(&start).await.map_err(|error| error.to_string()) }).await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let cluster = Cluster::new();
    let registry = Registry::start(None).await;
    let host = cluster.host("a").await;
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    for (reference, why) in [
        (registry.image("none:1").to_string(), "has no artifact of that name and tag"),
        (format!("{gone}/none:1"), "cannot be reached"),
    ] {
        let start = scale(host.id(), "actor", Path::new(&reference), 1);
        let error = cluster.client().scale(&start).await.expect_err("refused").to_string();
        assert!(error.contains(&reference) && error.contains(why), "{error}");
    }
}

/// A registry that answers each path as scripted and writes down what it was asked.
pub(crate) struct Cheat {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cheat {
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        request.push(byte);
                    }
                    let request = String::from_utf8_lossy(&request).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    log.lock().expect("not poisoned").push(request);
                    // Whoever has had enough hangs up.
                    let _ = stream.write_all(&answer(&path)).await;
                });
            }
        });
        Self { address, asked }
    }

    /// What pulling from it comes to.
    async fn pull(&self, access: Access) -> String {
        self.pull_of("app:1", access).await
    }

    /// The same of the artifact `name`.
    async fn pull_of(&self, name: &str, access: Access) -> String {
        let image = ImageRef::parse(&format!("{}/{name}", self.address)).expect("valid");
        let connection = Registries::new(access).connect(&image).await.expect("connects");
        let pulled = async {
            let found = connection.resolve().await?;
            connection.download(&found, &silent()).await
        };
        pulled.await.expect_err("it cheats").to_string()
    }
}

pub(crate) fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A manifest with one component of `size` bytes.
fn manifest(size: u64) -> Vec<u8> {
    manifest_with("", size)
}

/// The same with these lines in the head of the answer.
fn manifest_with(headers: &str, size: u64) -> Vec<u8> {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = format!("sha256:{}", "a".repeat(64));
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": kind,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest, "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": digest, "size": size}],
    });
    http("200 OK", &format!("content-type: {kind}\r\n{headers}"), manifest.to_string().as_bytes())
}

#[tokio::test]
async fn other_bytes_than_the_manifest_names_are_refused() {
    let cheat = Cheat::start(|path| match path.contains("/blobs/") {
        true => http("200 OK", "", b"evil"),
        false => manifest(4),
    })
    .await;
    let error = cheat.pull(Access::default()).await;
    assert!(error.contains("is not what it should be"), "{error}");
}

#[tokio::test]
async fn another_manifest_than_the_digest_names_is_refused() {
    let named = format!("sha256:{}", "b".repeat(64));
    // Also where the registry says that it is the right one.
    for headers in [String::new(), format!("docker-content-digest: {named}\r\n")] {
        let cheat = Cheat::start(move |_| manifest_with(&headers, 4)).await;
        let error = cheat.pull_of(&format!("app@{named}"), Access::default()).await;
        assert!(error.contains("is not what it should be") && error.contains(&named), "{error}");
        let asked = cheat.asked.lock().expect("not poisoned");
        assert!(!asked.iter().any(|request| request.contains("/blobs/")), "nothing of it is fetched: {asked:?}");
    }
}

#[tokio::test]
async fn more_bytes_than_the_manifest_says_are_not_read() {
    let cheat = Cheat::start(|path| match path.contains("/blobs/") {
        true => http("200 OK", "", &vec![0; 1 << 20]),
        false => manifest(1_000),
    })
    .await;
    let error = cheat.pull(Access::default()).await;
    assert!(error.contains("more than 1000 bytes came"), "{error}");
    let cheat = Cheat::start(|_| manifest(1 << 30)).await;
    let error = cheat.pull(Access::default()).await;
    assert!(error.contains("larger than 32 MiB"), "{error}");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    let other = Cheat::start(|_| http("200 OK", "", b"evil")).await;
    let there = format!("location: http://{}/blob\r\n", other.address);
    let challenge = "www-authenticate: Basic realm=\"test\"\r\n";
    let cheat = Cheat::start(move |path| match path {
        "/v2/" => http("401 Unauthorized", challenge, b""),
        path if path.contains("/blobs/") => http("307 Temporary Redirect", &there, b""),
        _ => manifest(4),
    })
    .await;
    let dir = tempfile::tempdir().expect("a directory");
    let docker = dir.path().join("config.json");
    let login = format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#, cheat.address);
    std::fs::write(&docker, login).expect("written");
    cheat.pull(Access { docker_config: Some(docker), insecure: Vec::new() }).await;
    let has_secret = |cheat: &Cheat| {
        let asked = cheat.asked.lock().expect("not poisoned");
        (asked.len(), asked.iter().any(|request| request.to_lowercase().contains("authorization:")))
    };
    assert!(has_secret(&cheat).1, "the registry itself is shown them");
    assert_eq!(has_secret(&other), (1, false), "{:?}", other.asked);
}

#[tokio::test]
async fn an_archive_of_a_provider_is_pushed_and_pulled_as_what_it_is() {
    let registry = Registry::start(None).await;
    let image = registry.image("acme/dice:1");
    let connection = anonymous().connect(&image).await.expect("connects");
    let statement = Statement { name: "dice".to_owned(), vendor: "acme".to_owned(), ..Statement::default() };
    let programs = Programs::from([(own_target(), "program".into())]);
    let keys = (&Key::generate(KeyKind::Account), &Key::generate(KeyKind::Provider));
    let archive: Bytes = pack(&statement, &programs, keys, now()).expect("packed").into();
    let pushed = connection.push_archive(archive.clone(), &silent()).await.expect("pushed");
    let found = connection.find(Wanted::Archive).await.expect("found");
    assert_eq!((&found.manifest_digest, &found.digest), (&pushed.manifest_digest, &pushed.digest));
    assert_eq!(connection.download(&found, &silent()).await.expect("pulled"), archive);
    let error = connection.resolve().await.expect_err("no component").to_string();
    assert!(error.contains("no component"), "{error}");

    let cluster = Cluster::new();
    let host = cluster.host("a").await;
    let start = StartProvider { provider_ref: image.to_string(), ..provider(host.id(), "dice", "") };
    let error = cluster.client().start_provider(&start).await.expect_err("a stranger signed it").to_string();
    assert!(error.contains("--provider-issuer"), "it was pulled and looked at: {error}");
}
