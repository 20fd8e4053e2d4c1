//! What other peers call here: each call is held against this host's own link table before it is delivered.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use trellis_lattice::damper::Damper;
use trellis_lattice::error::CallError;
use trellis_lattice::id::EntityId;
use trellis_lattice::identity::claims::{PeerClaims, Verified};
use trellis_lattice::message::invocation::{Answer, Head, Invocation, MAX_DEPTH};
use trellis_lattice::rpc::{Peer, Serve};

use super::{Router, too_deep, wire};
use crate::links::Table;
use crate::runtime::value::Args;

/// How long a call waits for a link or a presence that its sender has seen and this host has not yet.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);

/// Serves the calls of other peers.
pub(crate) struct Gate {
    // The peer owns the gate, and the router the peer: one of the three must not hold on.
    router: Weak<Router>,
    /// Which refusals are logged.
    denied: Damper,
}

impl Gate {
    /// In front of `router`.
    pub(crate) fn new(router: &Arc<Router>) -> Arc<Self> {
        Arc::new(Self { router: Arc::downgrade(router), denied: Damper::default() })
    }
}

impl Gate {
    fn log(&self, from: &PeerClaims, head: &Head, error: &CallError) {
        if let Some(left_out) = self.denied.admit() {
            tracing::warn!(
                peer_id = %from.peer, actor_id = %head.source, interface = %head.interface, reason = error.message,
                left_out, "call of a peer was denied"
            );
        }
    }
}

impl Serve for Gate {
    fn serve(
        self: Arc<Self>,
        from: Arc<Verified<PeerClaims>>,
        invocation: Invocation<Bytes>,
    ) -> BoxFuture<'static, Result<Answer<Bytes>, CallError>> {
        Box::pin(async move {
            let router = self.router.upgrade().ok_or_else(|| super::nobody_runs(&invocation.head.target))?;
            if judge(&router, &from, &invocation.head) != Verdict::Granted {
                // Boxed, because every call carries the room for this and few take it.
                let admitted = Box::pin(admit(&router, &from, &invocation.head)).await;
                admitted.inspect_err(|error| self.log(&from, &invocation.head, error))?;
            }
            let Invocation { head, args, body } = invocation;
            let args = wire::arguments(&head.interface, head.encoding, args)?;
            let answer = router.deliver(Invocation::<Args> { head, args, body }).await?;
            Ok(Answer { value: answer.value.into_wire()?, body: answer.body })
        })
    }
}

/// Waits a moment for what is on its way here, then decides.
async fn admit(router: &Router, from: &PeerClaims, head: &Head) -> Result<(), CallError> {
    let patience = Instant::now() + PATIENCE.min(head.context.remaining());
    loop {
        match judge(router, from, head) {
            Verdict::Granted => return Ok(()),
            Verdict::NotYet(_) if Instant::now() < patience => tokio::time::sleep(LOOK).await,
            Verdict::Denied(reason) | Verdict::NotYet(reason) => {
                return Err(CallError::denied(reason));
            }
        }
    }
}

fn judge(router: &Router, from: &PeerClaims, head: &Head) -> Verdict {
    let speaker = speaker(router.peer.load().as_deref(), from, &head.source);
    verdict(from, head, speaker, &router.view.links())
}

/// On what ground a peer speaks for the source of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// Its presence says that it runs the source.
    Runs,
    /// Its token names the source.
    Is,
    /// On none, as far as is known here.
    Stranger,
}

fn speaker(peer: Option<&Peer>, from: &PeerClaims, source: &EntityId) -> Speaker {
    if from.peer.as_host().is_none() {
        return if from.entity.as_ref() == Some(source) { Speaker::Is } else { Speaker::Stranger };
    }
    if peer.is_some_and(|peer| peer.is_running(&from.peer, source)) { Speaker::Runs } else { Speaker::Stranger }
}

/// What is to be done with a call.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Granted,
    /// It never will be.
    Denied(String),
    /// What grants it may be on its way here.
    NotYet(String),
}

fn verdict(from: &PeerClaims, head: &Head, speaker: Speaker, links: &Table) -> Verdict {
    let Head { source, target, link, interface, .. } = head;
    if head.context.depth >= MAX_DEPTH {
        return Verdict::Denied(too_deep(source).message);
    }
    match speaker {
        Speaker::Stranger if from.peer.as_host().is_some() => {
            return Verdict::NotYet(format!("{} does not run {source}, so it may not call in its name", from.peer));
        }
        Speaker::Stranger => {
            return Verdict::Denied(format!("the token of {} is not for {source}", from.peer));
        }
        Speaker::Is
            if from.call.iter().any(|pattern| allows(pattern, target.as_str(), interface.without_version())) =>
        {
            return Verdict::Granted;
        }
        Speaker::Is | Speaker::Runs => {}
    }
    if links.is_granted(source, link, target, interface) {
        return Verdict::Granted;
    }
    let reason = format!("no link {link} lets {source} call {interface} of {target}");
    if head.grant_epoch > links.revision() { Verdict::NotYet(reason) } else { Verdict::Denied(reason) }
}

/// Whether the grant `pattern` (`target/interface`, either part may end in `*`) covers a call.
fn allows(pattern: &str, target: &str, interface: &str) -> bool {
    let Some((targets, interfaces)) = pattern.split_once('/') else { return false };
    fits(targets, target) && fits(interfaces, interface)
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::{Speaker, Verdict, allows, verdict};
    use crate::links::tests::{link, table};
    use std::time::Duration;
    use trellis_lattice::identity::claims::PeerClaims;
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::invocation::{Context, Encoding, Head};

    fn claims(kind: KeyKind, entity: Option<&str>, call: &[&str]) -> PeerClaims {
        PeerClaims {
            issuer: Key::generate(KeyKind::Account).public().parse().expect("an account"),
            peer: Key::generate(kind).public().parse().expect("a peer"),
            exchange: [0; 32],
            lattice: "default".parse().expect("valid"),
            labels: Default::default(),
            entity: entity.map(|id| id.parse().expect("valid")),
            call: call.iter().map(|&pattern| pattern.to_owned()).collect(),
            expires_at: u64::MAX,
        }
    }

    fn head(source: &str, target: &str, interface: &str, grant_epoch: u64) -> Head {
        Head {
            id: trellis_lattice::message::invocation::new_id(),
            source: source.parse().expect("valid"),
            target: target.parse().expect("valid"),
            link: Default::default(),
            interface: interface.parse().expect("valid"),
            function: "get".into(),
            signature: None,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch,
            context: Context::root(Duration::from_secs(1)),
        }
    }

    #[test]
    fn a_grant_of_a_caller_covers_target_and_interface() {
        for (pattern, expected) in [
            ("greeter/demo:greet/greeter", true),
            ("greeter/demo:greet/*", true),
            ("greeter/*", true),
            ("gre*/demo:*", true),
            ("*/*", true),
            ("other/*", false),
            ("greeter/demo:greet", false),
            ("greeter/demo:greet/greeter@1.0.0", false),
            ("greeter", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(allows(pattern, "greeter", "demo:greet/greeter"), expected, "{pattern}");
        }
    }

    #[test]
    fn a_host_calls_only_for_what_it_runs_and_over_links_that_are_here() {
        let links = table(&[link("a", "default", "wasi:keyvalue/store", "kv")]);
        let host = claims(KeyKind::Host, None, &["*/*"]);
        let check = |speaker, head: &Head| verdict(&host, head, speaker, &links);
        let granted = head("a", "kv", "wasi:keyvalue/store@0.2.0-draft", 1);
        assert_eq!(check(Speaker::Runs, &granted), Verdict::Granted);
        assert!(matches!(check(Speaker::Stranger, &granted), Verdict::NotYet(_)));
        for denied in [
            head("a", "other", "wasi:keyvalue/store", 1),
            head("a", "kv", "wasi:keyvalue/atomics", 1),
            head("b", "kv", "wasi:keyvalue/store", 1),
        ] {
            assert!(matches!(check(Speaker::Runs, &denied), Verdict::Denied(_)), "{denied:?}");
        }
        let ahead = head("b", "kv", "wasi:keyvalue/store", 2);
        assert!(matches!(check(Speaker::Runs, &ahead), Verdict::NotYet(_)), "its link may be on the way");
    }

    #[test]
    fn a_caller_calls_in_its_own_name_what_its_token_grants() {
        let links = table(&[]);
        let caller = claims(KeyKind::User, Some("cli"), &["greeter/*"]);
        let check = |speaker, source: &str, target: &str| {
            verdict(&caller, &head(source, target, "demo:greet/greeter", 0), speaker, &links)
        };
        assert_eq!(check(Speaker::Is, "cli", "greeter"), Verdict::Granted);
        assert!(matches!(check(Speaker::Is, "cli", "other"), Verdict::Denied(_)));
        assert!(matches!(check(Speaker::Stranger, "a", "greeter"), Verdict::Denied(_)));
    }

    #[test]
    fn a_call_from_too_deep_is_denied() {
        let links = table(&[link("a", "default", "wasi:keyvalue/store", "kv")]);
        let host = claims(KeyKind::Host, None, &[]);
        let mut deep = head("a", "kv", "wasi:keyvalue/store", 1);
        deep.context.depth = super::MAX_DEPTH;
        assert!(matches!(verdict(&host, &deep, Speaker::Runs, &links), Verdict::Denied(_)));
    }
}
