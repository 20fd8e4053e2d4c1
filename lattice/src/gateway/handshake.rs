//! What server and client say of themselves at the start.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::transport::memory::MAX_PAYLOAD_BYTES;

/// The release of nats-server whose client protocol this is; clients look at it to know what they may use.
const PROTOCOL_RELEASE: &str = "2.10.0";

#[derive(Serialize)]
struct Info<'a> {
    server_id: &'a str,
    server_name: &'a str,
    version: &'a str,
    proto: u8,
    host: String,
    port: u16,
    headers: bool,
    auth_required: bool,
    jetstream: bool,
    max_payload: usize,
    client_id: u64,
}

/// The first line to client number `client_id`.
pub(super) fn info_line(addr: SocketAddr, client_id: u64) -> String {
    let info = Info {
        server_id: concat!("trellis-gateway-", env!("CARGO_PKG_VERSION")),
        server_name: "trellis",
        version: PROTOCOL_RELEASE,
        proto: 1,
        host: addr.ip().to_string(),
        port: addr.port(),
        headers: true,
        auth_required: true,
        jetstream: false,
        max_payload: MAX_PAYLOAD_BYTES,
        client_id,
    };
    let json = serde_json::to_string(&info).expect("plain fields become JSON");
    format!("INFO {json}\r\n")
}

/// What a client wants of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes {
    /// To be told `+OK`.
    pub(super) verbose: bool,
    /// To get headers.
    pub(super) headers: bool,
    /// To be told when nobody listens.
    pub(super) no_responders: bool,
    /// To get what it publishes itself.
    pub(super) echo: bool,
}

#[derive(Deserialize)]
struct Connect {
    #[serde(default)]
    verbose: bool,
    #[serde(default)]
    headers: bool,
    #[serde(default)]
    no_responders: bool,
    #[serde(default = "yes")]
    echo: bool,
    #[serde(default)]
    auth_token: String,
}

fn yes() -> bool {
    true
}

/// Who does not show the token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unauthorized;

/// Checks what came with `CONNECT`.
pub(super) fn admit(json: &[u8], token: &Secret) -> Result<Wishes, Unauthorized> {
    let connect: Connect = serde_json::from_slice(json).map_err(|_error| Unauthorized)?;
    if !token.is(&connect.auth_token) {
        return Err(Unauthorized);
    }
    let Connect { verbose, headers, no_responders, echo, .. } = connect;
    Ok(Wishes { verbose, headers, no_responders: no_responders && headers, echo })
}

#[cfg(test)]
mod tests {
    use super::{Secret, Unauthorized, Wishes, admit};

    #[test]
    fn only_the_token_admits() {
        let token = Secret::new("s3cret");
        for json in ["", "{}", "[]", r#"{"auth_token":"s3cre"}"#, r#"{"auth_token":null}"#, r#"{"pass":"s3cret"}"#] {
            assert_eq!(admit(json.as_bytes(), &token), Err(Unauthorized), "{json}");
        }
        let wishes = Wishes { verbose: false, headers: false, no_responders: false, echo: true };
        assert_eq!(admit(br#" {"auth_token":"s3cret","no_responders":true,"lang":"x"}"#, &token), Ok(wishes));
    }
}
