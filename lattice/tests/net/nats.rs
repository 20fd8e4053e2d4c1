//! Connections to a real nats-server: who is let in, and what happens when it goes or hangs.

use trellis_lattice::error::ErrorKind;
use trellis_lattice::secret::Secret;
use trellis_lattice::transport::nats::{Credentials, NatsOptions, NatsTransport};

use crate::support::{NatsServer, eventually};
use crate::transport::{connect, message, payloads, subscribe};

#[tokio::test]
async fn no_server_is_an_error_that_names_address_and_way_out() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = NatsOptions::new(format!("nats://user:canary@127.0.0.1:{port}"));
    let shown = format!("{options:?}");
    let error = NatsTransport::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let text = error.to_string();
    assert_eq!(text, format!("no nats-server answers at 127.0.0.1:{port}; start one or use `trellis up`"));
    assert!(!format!("{error:?}{shown}").contains("canary"));
    let error = NatsTransport::connect(NatsOptions::new("nats://canary:canary@:x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn credentials_are_taken_or_refused() {
    let user = nkeys::KeyPair::new_user();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, format!("authorization: {{ users: [{{ nkey: {} }}] }}", user.public_key())).unwrap();
    let with_nkey = ["-c", config.to_str().unwrap()];
    let password = |text: &str| Credentials::UserPassword { user: "ada".into(), password: Secret::new(text) };
    for (arguments, right, wrong) in [
        (["--auth", "s3cret"], Credentials::Token(Secret::new("s3cret")), Credentials::Token(Secret::new("canary"))),
        (["--user=ada", "--pass=s3cret"], password("s3cret"), password("canary")),
        (
            with_nkey,
            Credentials::NkeySeed(Secret::new(user.seed().unwrap())),
            Credentials::NkeySeed(Secret::new(nkeys::KeyPair::new_user().seed().unwrap())),
        ),
    ] {
        let server = NatsServer::with_arguments(&arguments).await;
        let options = |credentials| NatsOptions { credentials, ..NatsOptions::new(server.url()) };
        connect(options(right.clone())).await.flush().await.unwrap();
        if let Credentials::UserPassword { user, .. } = &right {
            let in_url = server.url().replace("//", &format!("//{user}:s3cret@"));
            connect(NatsOptions::new(in_url)).await;
        }
        for refused in [wrong, Credentials::None] {
            let options = options(refused);
            assert!(!format!("{options:?}").contains("canary"));
            let error = NatsTransport::connect(options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{arguments:?}: {error:?}");
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}

#[tokio::test]
async fn a_credentials_file_that_is_missing_is_named() {
    let credentials = Credentials::File("/no/such.creds".into());
    let options = NatsOptions { credentials, ..NatsOptions::new("nats://127.0.0.1:1") };
    let error = NatsTransport::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("/no/such.creds"));
}

#[tokio::test]
async fn a_connection_and_its_subscriptions_come_back() {
    let mut server = NatsServer::start().await;
    let one = connect(NatsOptions::new(server.url())).await;
    let mut messages = subscribe(&one, "a", None).await;
    server.kill();
    eventually("the loss is noticed", async || !one.is_connected()).await;
    server.restart().await;
    eventually("it is back", async || one.is_connected()).await;
    one.flush().await.unwrap();
    one.publish(message("a", "end")).await.unwrap();
    assert_eq!(payloads(&mut messages).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed() {
    let server = NatsServer::start().await;
    let one = connect(NatsOptions::new(server.url())).await;
    server.signal("STOP");
    eventually("the hang is noticed", async || !one.is_connected()).await;
    server.signal("CONT");
    eventually("it is back", async || one.is_connected() && one.flush().await.is_ok()).await;
}
