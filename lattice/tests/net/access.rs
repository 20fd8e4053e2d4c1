//! Getting in: TLS with a certificate authority of one's own, and a user's JWT in a credentials file.

use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use trellis_lattice::error::ErrorKind;
use trellis_lattice::transport::Transport as _;
use trellis_lattice::transport::nats::{Credentials, NatsOptions, NatsTransport};

use crate::support::NatsServer;

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl is on PATH (Debian: apt-get install openssl)");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate authority in `folder` and a certificate of it for this machine.
fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -days 2 -subj /CN=ours -keyout ca.key -out ca.pem"));
    openssl(folder, &format!("req {key} -subj /CN=server -keyout server.key -out server.csr"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").expect("written");
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
}

#[tokio::test]
async fn a_server_with_tls_is_believed_if_our_authority_signed_it() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let server =
        NatsServer::with_arguments(&["--tls", "--tlscert", &path("server.pem"), "--tlskey", &path("server.key")]).await;
    let options = |ca: Option<PathBuf>| NatsOptions { tls_ca: ca, ..NatsOptions::new(server.url()) };

    let transport = NatsTransport::connect(options(Some(folder.path().join("ca.pem")))).await.expect("it is ours");
    transport.flush().await.unwrap();

    let address = server.url().trim_start_matches("nats://").to_owned();
    for wrong in [Some(other.path().join("ca.pem")), None] {
        let error = NatsTransport::connect(options(wrong)).await.expect_err("not signed by that one");
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error:?}");
        assert!(error.to_string().contains(&address) && error.to_string().contains("CA file"), "{error}");
    }
}

/// A JWT as nats-server reads it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = encode(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = encode(json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
        "nats": nats,
    }));
    let signed = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).expect("it has a seed"));
    format!("{signed}.{signature}")
}

fn credentials(file: &Path, jwt: &str, user: &KeyPair) -> Credentials {
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().expect("it has a seed")
    );
    std::fs::write(file, text).expect("written");
    Credentials::File(file.to_owned())
}

#[tokio::test]
async fn a_credentials_file_lets_its_user_in_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (operator, account, user, stranger) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user(), KeyPair::new_account());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let of_operator = jwt(&operator, &operator, json!({"type": "operator", "version": 2}));
    let of_account = jwt(&operator, &account, json!({"type": "account", "version": 2, "limits": limits}));
    let config = folder.path().join("nats.conf");
    let text = format!(
        "operator: \"{of_operator}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{of_account}\" }}\n",
        account.public_key()
    );
    std::fs::write(&config, text).unwrap();
    let server = NatsServer::with_arguments(&["-c", config.to_str().unwrap()]).await;
    let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
    let file = folder.path().join("user.creds");
    let options = |issuer: &KeyPair| NatsOptions {
        credentials: credentials(&file, &jwt(issuer, &user, claims.clone()), &user),
        ..NatsOptions::new(server.url())
    };

    let transport = NatsTransport::connect(options(&account)).await.expect("the account signed it");
    transport.flush().await.unwrap();

    let error = NatsTransport::connect(options(&stranger)).await.expect_err("nobody knows that account");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(error.to_string().contains("credentials"), "{error}");
}
