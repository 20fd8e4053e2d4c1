//! Speaking as somebody else: calls over links of others through the channel, and orders on the bus without a token.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use futures::future::join_all;
use trellis_provider_sdk::{Body, Call, Context, Environment, wire};

use crate::Report;

/// Whom it gives itself out for.
const SOURCES: [&str; 8] = ["counter", "other", "kv", "http", "trellis-cli", "wadm", "local", "nobody"];
/// What it wants of them.
const INTERFACES: [&str; 5] = [
    "wasi:keyvalue/store",
    "wasi:keyvalue/atomics",
    "wasi:http/incoming-handler",
    "wasmcloud:bus/lattice",
    "trellis:control/host",
];
/// Over which links.
const LINKS: [&str; 3] = ["default", "counter", "other"];
/// What it sends to the bus: orders, records, calls, presence; and what it listens to.
const SUBJECTS: [&str; 20] = [
    "wasmbus.ctl.v1.default.host.get",
    "wasmbus.ctl.v1.default.host.stop.local",
    "wasmbus.ctl.v1.default.component.scale.local",
    "wasmbus.ctl.v1.default.component.auction",
    "wasmbus.ctl.v1.default.provider.start.local",
    "wasmbus.ctl.v1.default.provider.stop.local",
    "wasmbus.ctl.v1.default.link.put",
    "wasmbus.ctl.v1.default.link.del",
    "wasmbus.ctl.v1.default.link.get",
    "wasmbus.ctl.v1.default.config.put.http",
    "wasmbus.ctl.v1.default.config.get.http",
    "wasmbus.ctl.v1.default.label.put.local",
    "wasmbus.evt.default.host_started",
    "wasmbus.rpc.default.counter",
    "wadm.api.default.model.list",
    "wadm.api.default.model.deploy.counter",
    "trellis.presence.default",
    "trellis.rpc.default.local",
    "$KV.LATTICEDATA_default.links",
    "_INBOX.>",
];
/// Tokens that somebody might have chosen.
const TOKENS: [&str; 4] = ["", "trellis", "default", "local"];

/// Tries all of it. `accepted` counts what was not refused.
pub(crate) async fn all(environment: &Environment) -> Report {
    let mut report = Report::new();
    let (mut tried, mut accepted) = (0, Vec::new());
    for source in SOURCES {
        for interface in INTERFACES {
            let calls = LINKS.map(|link| call(environment, (source, link), interface));
            for (link, is_accepted) in LINKS.iter().zip(join_all(calls).await) {
                tried += 1;
                accepted.extend(is_accepted.then(|| format!("{source}/{link}/{interface}")));
            }
        }
    }
    let bus = environment.config.get("bus").cloned().unwrap_or_default();
    for token in TOKENS {
        for subject in SUBJECTS {
            tried += 1;
            accepted.extend(publish(&bus, token, subject).then(|| format!("{subject} with {token:?}")));
        }
    }
    report.insert("tried".to_owned(), tried.to_string());
    report.insert("accepted".to_owned(), accepted.join(" "));
    report.insert("bus".to_owned(), TcpStream::connect(&bus).map_or("absent", |_| "there").to_owned());
    report
}

/// Whether anything but an error comes back.
async fn call(environment: &Environment, (source, link): (&str, &str), interface: &str) -> bool {
    let call = Call {
        source: source.parse().expect("valid"),
        link: link.parse().expect("valid"),
        interface: interface.parse().expect("valid"),
        function: "get".into(),
        signature: None,
        context: Context::root(Duration::from_secs(10)),
        args: wire::encode(&("default", "secret")).expect("encodes"),
        body: Body::Empty,
    };
    environment.caller.call(call).await.is_ok()
}

/// Whether the bus takes a message for `subject` from whoever says `token`.
fn publish(bus: &str, token: &str, subject: &str) -> bool {
    let talk = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(bus)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let hello = serde_json::json!({"verbose": true, "pedantic": true, "auth_token": token});
        let message = format!("CONNECT {hello}\r\nSUB {subject} 1\r\nPUB {subject} 2\r\n{{}}\r\nPING\r\n");
        stream.write_all(message.as_bytes())?;
        let mut lines = BufReader::new(stream).lines();
        // The first is what the server says of itself.
        lines.next();
        Ok(lines.map_while(Result::ok).any(|line| ["+OK", "PONG", "MSG"].iter().any(|word| line.starts_with(word))))
    };
    talk().unwrap_or(false)
}
