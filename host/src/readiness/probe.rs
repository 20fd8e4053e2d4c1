//! One request to an actor of this host, straight to its handler.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::HOST;
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::id::LinkName;
use trellis_lattice::message::invocation::{Answer, Context, Encoding, Head, Invocation, new_id};
use trellis_lattice::message::readiness::HttpProbe;

use crate::actor::Actor;
use crate::runtime::value::Args;

/// What `actor` answers to `probe`: `Err` says what was wrong with it. `None` when it has no room for the question,
/// which says nothing.
pub(super) async fn ask(actor: &Arc<Actor>, probe: &HttpProbe) -> Option<Result<(), String>> {
    let path = &probe.path;
    let request = Request::get(path.as_str()).header(HOST, probe.host.as_deref().unwrap_or(actor.id().as_str()));
    let parts = match request.body(()) {
        Ok(request) => request.into_parts().0,
        Err(error) => return Some(Err(format!("GET {path} is no request: {error}"))),
    };
    let timeout = Duration::from_millis(probe.timeout_ms);
    let invocation = Invocation { head: head(actor, timeout), args: Args::Request(Box::new(parts)), body: Body::Empty };
    match Arc::clone(actor).invoke(invocation).await {
        Ok(answer) => Some(check(probe, answer)),
        Err(error) if error.kind == CallErrorKind::Overloaded => None,
        Err(error) => Some(Err(describe(path, &error, timeout))),
    }
}

fn head(actor: &Actor, timeout: Duration) -> Head {
    Head {
        id: new_id(),
        source: actor.id().clone(),
        target: actor.id().clone(),
        link: LinkName::default(),
        interface: Interface::parse("wasi:http/incoming-handler").expect("a valid name"),
        function: "handle".into(),
        signature: None,
        encoding: Encoding::default(),
        attempt: 1,
        grant_epoch: 0,
        context: Context::root(timeout),
    }
}

fn check(probe: &HttpProbe, answer: Answer<Args>) -> Result<(), String> {
    let Args::Response(response) = answer.value else { return Err(format!("GET {} gave no HTTP answer", probe.path)) };
    let status = response.status.as_u16();
    let is_well = probe.status.map_or((200..400).contains(&status), |wanted| wanted == status);
    if is_well { Ok(()) } else { Err(format!("GET {} answered {status}", probe.path)) }
}

fn describe(path: &str, error: &CallError, timeout: Duration) -> String {
    match error.kind {
        CallErrorKind::Deadline => format!("GET {path} was not answered within {} ms", timeout.as_millis()),
        _ => format!("GET {path}: {error}"),
    }
}
