//! What goes wrong with a connection, in words for people.

use async_nats::ConnectErrorKind;

use crate::error::{Error, ErrorKind};

/// Why no connection came about, with the way out.
pub(super) fn connect_error(servers: &str, error: async_nats::ConnectError) -> Error {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let text = format!("nats-server at {servers} refuses the credentials; check the token, user, seed or file");
            Error::new(ErrorKind::Unauthorized, text).with_source(error)
        }
        kind if kind == ConnectErrorKind::Tls || is_refused_handshake(&error) => {
            let text = format!("no TLS with nats-server at {servers}: {error}; check the CA file and the host name");
            Error::new(ErrorKind::Disconnected, text).with_source(error)
        }
        ConnectErrorKind::Dns => {
            let text = format!("the host name in {servers} has no address; check the name");
            Error::new(ErrorKind::Disconnected, text).with_source(error)
        }
        _ => no_server(servers).with_source(error),
    }
}

/// The client reports a handshake that failed as any other trouble with the stream; TLS calls it invalid data.
fn is_refused_handshake(error: &async_nats::ConnectError) -> bool {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let mut io = sources.filter_map(|error| error.downcast_ref::<std::io::Error>());
    io.any(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

/// Nobody answers.
pub(super) fn no_server(servers: &str) -> Error {
    Error::new(ErrorKind::Disconnected, format!("no nats-server answers at {servers}; start one or use `trellis up`"))
}

/// A message that the server would not take.
pub(super) fn too_large(size: usize, limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("{size} bytes and their headers are over the server's {limit}"))
}
