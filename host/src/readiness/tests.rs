//! A rule against an actor that serves HTTP and answers 200 to everything.

use std::sync::Arc;
use std::time::Duration;

use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::inventory::{Readiness, ReadinessState};
use trellis_lattice::message::readiness::{HttpProbe, Rule};
use trellis_lattice::transport::memory::MemoryBus;

use super::Follower;
use crate::actor::{Actor, Spec};
use crate::announce::Announcer;
use crate::router::Router;
use crate::runtime::{Limits, Runtime, Settings};

const GUEST: &str = include_str!("../capability/http/guest.wat");
const ANSWER: &str = "(call $answer (local.get $outparam)) (call $piece) (call $finish)";
const NEVER: &str = "(call $wait (i64.const 60000000000))";

/// What becomes of an actor that handles requests so, by a rule that asks for `status`.
async fn standing(handle: &str, status: Option<u16>, is_over: impl Fn(&Readiness) -> bool) -> Readiness {
    let runtime = Runtime::new(Settings { cache_dir: None, max_instances: 4 }).expect("the engines are set up");
    let bytes = wat::parse_str(GUEST.replace("HANDLE", handle)).expect("the guest is well formed");
    let component = runtime.load(bytes.into()).await.expect("the guest is a component");
    let limits = Limits { max_instances: 2, ..Limits::default() };
    let spec = Spec { id: "actor".parse().expect("valid"), component, limits, setup: Default::default() };
    let actor = Actor::start(&runtime, spec, Arc::new(Router::new(Arc::default()))).expect("all imports are built in");
    let http = HttpProbe { path: "/healthz".to_owned(), host: None, status, every_ms: 100, timeout_ms: 200 };
    let rule = Rule { http: Some(http), settle_ms: 0, deadline_ms: 600 };
    let host = Key::generate(KeyKind::Host).public().parse().expect("a host");
    let bus = Arc::new(MemoryBus::new().endpoint("host"));
    let announcer = Announcer::new(bus, LatticeName::parse("test").expect("valid"), host);
    let mut follower = Follower::start(actor, rule, announcer).expect("it serves HTTP");
    let wait = follower.standing.wait_for(is_over);
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").expect("its task runs").clone()
}

#[tokio::test]
async fn an_actor_that_answers_as_asked_is_ready() {
    for status in [None, Some(200)] {
        let ready = standing(ANSWER, status, |now| now.state == ReadinessState::Ready).await;
        assert_eq!(ready.reason, None);
    }
}

#[tokio::test]
async fn one_that_answers_otherwise_or_not_at_all_is_not_and_fails_in_the_end() {
    for (handle, expected) in [
        (ANSWER, "not ready: GET /healthz answered 200"),
        (NEVER, "not ready: GET /healthz was not answered within 200 ms"),
    ] {
        let asked = |now: &Readiness| now.reason.as_deref() == Some(expected);
        assert_eq!(standing(handle, Some(204), asked).await.state, ReadinessState::Starting);
        let failing = standing(handle, Some(204), |now| now.state == ReadinessState::Failing).await;
        assert_eq!(failing.reason.as_deref(), Some(expected));
    }
}
