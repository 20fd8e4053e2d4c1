//! Every call that leaves a guest or a built-in provider passes here: link lookup, policy, then a target on this host
//! directly, else by rpc. What arrives from other peers is checked by [`gate`] and delivered here too.

pub(crate) mod gate;
mod guarded;
mod target;
mod wire;

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use futures::future::BoxFuture;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::CallError;
use trellis_lattice::id::{EntityId, HostId, LinkName};
use trellis_lattice::message::invocation::{self, Answer, Call, Encoding, Head, Invocation, MAX_DEPTH};
use trellis_lattice::rpc::Peer;
use trellis_provider_sdk as sdk;

pub(crate) use target::Target;

use crate::records::View;
use crate::runtime::value::Args;

/// What runs on this host, by id.
pub(crate) type Targets = HashMap<EntityId, Target>;

/// The call, not begun yet. Boxed as what it goes to, so that no call carries the size of another way, and nobody who
/// waits for one that of all of them: futures are copied when they are handed on.
pub(crate) type Outcome<'a> = BoxFuture<'a, Result<Answer<Args>, CallError>>;

/// Finds the target of a call and calls it.
pub struct Router {
    view: Arc<View>,
    targets: ArcSwap<Targets>,
    peer: ArcSwapOption<Peer>,
}

impl Router {
    /// A router that goes by the links of `view`; nothing runs here yet, and no peer is known.
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self { view, targets: ArcSwap::default(), peer: ArcSwapOption::empty() }
    }

    /// A router that knows `links` and runs nothing, for tests of what calls through it.
    #[cfg(test)]
    pub(crate) fn of_links(links: &[trellis_lattice::message::link::Link]) -> Arc<Self> {
        Arc::new(Self::new(View::fixed(crate::links::tests::table(links))))
    }

    /// Replaces what runs here. The roster is the one that calls it.
    pub(crate) fn set_targets(&self, targets: Targets) {
        self.targets.store(Arc::new(targets));
    }

    /// From now on, what does not run here is called through `peer`.
    pub(crate) fn set_peer(&self, peer: Option<Arc<Peer>>) {
        self.peer.store(peer);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&self) {
        self.set_targets(Targets::new());
        self.set_peer(None);
    }

    /// Calls over the link of `call.source` that covers the interface. Whatever it goes to, it ends by its deadline.
    ///
    /// # Errors
    /// `NoTarget` when nothing is linked or nobody runs the target; `Deadline`; whatever the target fails with.
    pub fn call(&self, call: Call<Args>) -> Outcome<'_> {
        let invocation = match self.invocation(call) {
            Ok(invocation) => invocation,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        match self.view.guard(&invocation.head) {
            None => self.pass(invocation),
            Some(guard) => Box::pin(self.guarded(guard, invocation, Way::Anywhere)),
        }
    }

    /// Whether `source` has a link called `link` that covers `interface`.
    pub(crate) fn is_linked(&self, source: &EntityId, link: &LinkName, interface: &Interface) -> bool {
        self.view.peek_links().lookup(source, link, interface).is_some()
    }

    /// Whether the target of the link of `source` called `link` that covers `interface` runs on some host.
    pub(crate) fn is_running(&self, source: &EntityId, link: &LinkName, interface: &Interface) -> bool {
        let grant = self.view.peek_links().lookup(source, link, interface);
        grant.is_some_and(|grant| self.target(&grant.target).is_some() || self.host_of(&grant.target).is_some())
    }

    /// A host that runs `id`, as presence says; not this one.
    pub(crate) fn host_of(&self, id: &EntityId) -> Option<HostId> {
        let present = self.peer.load_full()?.present();
        let mut runs = present.iter().filter(|presence| presence.running.iter().any(|running| running.id == *id));
        runs.find_map(|presence| presence.peer.as_host())
    }

    /// Looks up the link, and makes the head.
    fn invocation(&self, call: Call<Args>) -> Result<Invocation<Args>, CallError> {
        if call.context.depth >= MAX_DEPTH {
            return Err(too_deep(&call.source));
        }
        let grant = self.view.peek_links().lookup(&call.source, &call.link, &call.interface);
        let Some(grant) = grant else { return Err(unlinked(&call)) };
        let head = Head {
            id: invocation::new_id(),
            source: call.source,
            target: grant.target,
            link: call.link,
            interface: call.interface,
            function: call.function,
            signature: call.signature,
            encoding: Encoding::Pack,
            attempt: 1,
            grant_epoch: grant.epoch,
            context: call.context,
        };
        Ok(Invocation { head, args: call.args, body: call.body })
    }

    fn target(&self, id: &EntityId) -> Option<Target> {
        self.targets.load().get(id).cloned()
    }

    /// Calls the target, here or elsewhere, over a link without a policy of its own.
    fn pass(&self, invocation: Invocation<Args>) -> Outcome<'_> {
        match self.target(&invocation.head.target) {
            Some(target) => self.meet(target, invocation),
            None => self.send(invocation),
        }
    }

    /// Calls `target`, which runs here, as is usual for what it is.
    fn meet(&self, target: Target, invocation: Invocation<Args>) -> Outcome<'_> {
        match target.usual_guard(&invocation.head) {
            None => target.call(invocation),
            Some(guard) => Box::pin(self.guarded(guard, invocation, Way::Here)),
        }
    }

    /// Calls a target that runs elsewhere.
    fn send(&self, invocation: Invocation<Args>) -> Outcome<'_> {
        Box::pin(async move {
            let peer = self.peer.load_full().ok_or_else(|| nobody_runs(&invocation.head.target))?;
            let Invocation { head, args, body } = invocation;
            let interface = head.interface.clone();
            let answer = peer.call(Invocation { head, args: args.into_wire()?, body }).await?;
            Ok(Answer { value: wire::value(&interface, answer.value)?, body: answer.body })
        })
    }

    /// Calls a target on this host, for a peer that was let in. What the link says of calls its host has seen to.
    fn deliver(&self, invocation: Invocation<Args>) -> Outcome<'_> {
        let Some(target) = self.target(&invocation.head.target) else {
            return Box::pin(ready(Err(nobody_runs(&invocation.head.target))));
        };
        match self.view.guard(&invocation.head) {
            Some(_) => target.call(invocation),
            None => self.meet(target, invocation),
        }
    }
}

/// Where an attempt at a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To whoever runs the target.
    Anywhere,
    /// To the target on this host only: whoever called chose this one.
    Here,
}

fn too_deep(source: &EntityId) -> CallError {
    CallError::denied(format!(
        "the call of {source} is more than {MAX_DEPTH} calls deep; do its actors call each other in a circle?"
    ))
}

fn unlinked(call: &Call<Args>) -> CallError {
    CallError::no_target(format!(
        "nothing is linked to {} as {} for {}; put a link (`trellis link put`)",
        call.source, call.link, call.interface
    ))
}

fn nobody_runs(target: &EntityId) -> CallError {
    CallError::no_target(format!("no host runs {target} now"))
}

/// What a built-in provider calls with: its calls come from its own id, whatever it says.
pub(crate) struct ProviderCaller {
    id: EntityId,
    router: Arc<Router>,
}

impl ProviderCaller {
    /// For the provider `id`.
    pub(crate) fn new(id: EntityId, router: Arc<Router>) -> Arc<Self> {
        Arc::new(Self { id, router })
    }
}

#[async_trait]
impl sdk::Caller for ProviderCaller {
    async fn call(&self, call: Call<sdk::Args>) -> Result<Answer<sdk::Args>, CallError> {
        let Call { source: _, link, interface, function, signature, context, args, body } = call;
        let source = self.id.clone();
        let args = Args::from(args);
        let answer =
            self.router.call(Call { source, link, interface, function, signature, context, args, body }).await?;
        Ok(Answer { value: answer.value.into_provider()?, body: answer.body })
    }

    async fn is_running(&self, link: &LinkName, interface: &Interface) -> bool {
        self.router.is_running(&self.id, link, interface)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use trellis_lattice::error::CallErrorKind;
    use trellis_lattice::message::invocation::Context;
    use trellis_provider_sdk::{self as sdk, Answer, Body, Call, CallError, Invocation};

    use super::{MAX_DEPTH, Router, Target};
    use crate::links::tests::link;
    use crate::runtime::value::Args;

    /// A provider that answers with what it was given, or does what the function's name says.
    struct Echo;

    #[async_trait]
    impl sdk::Provider for Echo {
        fn description(&self) -> sdk::Description {
            sdk::Description { name: "echo".into(), serves: Vec::new(), calls: Vec::new() }
        }

        async fn link_up(&self, _: &sdk::ActiveLink) -> Result<(), sdk::LinkError> {
            Ok(())
        }

        async fn link_down(&self, _: &sdk::ActiveLink) {}

        async fn call(&self, invocation: Invocation<sdk::Args>) -> Result<Answer<sdk::Args>, CallError> {
            match &*invocation.head.function {
                "panic" => panic!("on request"),
                "hang" => std::future::pending().await,
                _ => Ok(Answer { value: invocation.args, body: invocation.body }),
            }
        }

        async fn drain(&self, _: Duration) {}
    }

    fn call(source: &str, function: &str, context: Context) -> Call<Args> {
        Call {
            source: source.parse().expect("valid"),
            link: Default::default(),
            interface: "test:echo/echo@1.0.0".parse().expect("valid"),
            function: function.into(),
            signature: None,
            context,
            args: Args::Wire("hello".into()),
            body: Body::Empty,
        }
    }

    async fn outcome(source: &str, function: &str, context: Context) -> Result<(), CallErrorKind> {
        let router = Router::of_links(&[
            link("a", "default", "test:echo/echo", "echo"),
            link("lost", "default", "test:echo/echo", "nobody"),
        ]);
        router.set_targets([("echo".parse().expect("valid"), Target::Provider(Arc::new(Echo), Arc::default()))].into());
        match router.call(call(source, function, context)).await {
            Ok(Answer { value: Args::Wire(bytes), .. }) => {
                assert_eq!(&bytes[..], b"hello");
                Ok(())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.kind),
        }
    }

    #[tokio::test]
    async fn a_call_reaches_a_target_on_this_host_over_its_link_only() {
        let context = || Context::root(Duration::from_secs(10));
        assert_eq!(outcome("a", "echo", context()).await, Ok(()));
        assert_eq!(outcome("b", "echo", context()).await, Err(CallErrorKind::NoTarget), "no link");
        assert_eq!(outcome("lost", "echo", context()).await, Err(CallErrorKind::NoTarget), "nobody runs it");
    }

    #[test]
    fn it_is_known_whether_a_target_runs() {
        let router = Router::of_links(&[
            link("a", "default", "test:echo/echo", "echo"),
            link("a", "lost", "test:echo/echo", "nobody"),
        ]);
        router.set_targets([("echo".parse().expect("valid"), Target::Provider(Arc::new(Echo), Arc::default()))].into());
        let check = |name: &str, interface: &str| {
            let [source, link, interface] = ["a", name, interface];
            router.is_running(
                &source.parse().expect("valid"),
                &link.parse().expect("valid"),
                &interface.parse().expect("valid"),
            )
        };
        assert!(check("default", "test:echo/echo"));
        assert!(!check("lost", "test:echo/echo"), "nobody runs it");
        assert!(!check("default", "test:echo/other") && !check("none", "test:echo/echo"), "no link");
    }

    #[tokio::test]
    async fn a_provider_that_panics_or_hangs_fails_the_call_only() {
        assert_eq!(outcome("a", "panic", Context::root(Duration::from_secs(10))).await, Err(CallErrorKind::Provider));
        assert_eq!(outcome("a", "hang", Context::root(Duration::from_millis(20))).await, Err(CallErrorKind::Deadline));
        assert_eq!(outcome("a", "echo", Context::root(Duration::ZERO)).await, Err(CallErrorKind::Deadline));
    }

    #[tokio::test]
    async fn a_chain_of_calls_has_an_end() {
        let at = |depth| Context { depth, ..Context::root(Duration::from_secs(10)) };
        assert_eq!(outcome("a", "echo", at(MAX_DEPTH - 1)).await, Ok(()));
        assert_eq!(outcome("a", "echo", at(MAX_DEPTH)).await, Err(CallErrorKind::Denied));
    }
}
