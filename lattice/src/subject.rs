//! Every subject of the lattice is spelled here, from ids that cannot hold `.`, `*`, `>` or white space.
//!
//! Subjects of lattice v1 (control, events) are those that clients of wasmCloud 1.x use; the others are our own
//! (PROTOCOL.md).

mod operation;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::id::{ConfigName, EntityId, HostId, InvalidId, LatticeName, PeerId, SecretName};
use crate::message::event::EventName;

pub use operation::{ConfigVerb, HostOperation, LatticeOperation, ModelOperation};

/// A subject, or a pattern of subjects. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

impl Subject {
    /// A subject that came from outside (a client of the gateway, a message's reply subject): 1 to 255 bytes of
    /// printable ASCII, no empty token.
    pub fn from_wire(text: &str) -> Result<Self, Error> {
        let is_valid = (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && text.split('.').all(|token| !token.is_empty());
        if !is_valid {
            let shown: String = text.chars().take(64).collect();
            return Err(Error::new(ErrorKind::Malformed, format!("subject {shown:?} is not valid")));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether `subject`, which has no wildcards, is one of those that this pattern means.
    pub fn matches(&self, subject: &Self) -> bool {
        let mut wanted = self.tokens();
        let mut given = subject.tokens();
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(want), Some(have)) if want == have => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a queue group: each message goes to one of its members.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueGroup(Arc<str>);

impl QueueGroup {
    /// A group named by a client of the gateway.
    pub fn from_wire(text: &str) -> Result<Self, Error> {
        Subject::from_wire(text).map(|subject| Self(subject.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where frames for `peer` go: calls, and chunks and credits of their bodies.
pub fn inbox(lattice: &LatticeName, peer: &PeerId) -> Subject {
    Subject(format!("trellis.rpc.{lattice}.{peer}").into())
}

/// Where answers to the call in `slot` of `peer` go, "no responders" among them.
pub fn reply_slot(lattice: &LatticeName, peer: &PeerId, slot: u32) -> Subject {
    Subject(format!("trellis.rpc.{lattice}.{peer}.{slot}").into())
}

/// All reply slots of `peer`.
pub fn reply_slots(lattice: &LatticeName, peer: &PeerId) -> Subject {
    Subject(format!("trellis.rpc.{lattice}.{peer}.*").into())
}

/// The slot of a subject made by [`reply_slot`].
pub fn slot_of(subject: &Subject) -> Option<u32> {
    subject.as_str().rsplit_once('.')?.1.parse().ok()
}

/// The slot with another number of the same peer; of a slot, or of what [`reply_slots`] means.
pub fn other_slot(slot: &Subject, number: u32) -> Subject {
    let (peer, _) = slot.as_str().rsplit_once('.').unwrap_or_default();
    Subject(format!("{peer}.{number}").into())
}

/// Whether a subject made by [`reply_slot`] is one of those that [`reply_slots`] means.
pub fn is_slot_in(slots: &Subject, slot: &Subject) -> bool {
    let peer = |subject| Subject::as_str(subject).rsplit_once('.').map(|(peer, _)| peer);
    peer(slots) == peer(slot)
}

/// Where the answers to one request go; `number` is not used twice on that bus.
pub fn one_time_inbox(number: u64) -> Subject {
    Subject(format!("_INBOX.trellis.{number}").into())
}

/// Where JetStream takes the records of a key-value bucket, as text for its stream's configuration.
pub fn bucket_records(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// Whether `subject` is a reply slot of some peer of `lattice`.
pub fn is_reply_slot(lattice: &LatticeName, subject: &Subject) -> bool {
    let tokens: Vec<_> = subject.tokens().take(6).collect();
    matches!(*tokens, ["trellis", "rpc", name, peer, _] if name == lattice.as_str() && PeerId::parse(peer).is_ok())
        && slot_of(subject).is_some()
}

/// What a question to a JetStream server asks for (`STREAM.INFO.name`); `None` for any other subject.
pub fn jetstream_operation(subject: &Subject) -> Option<&str> {
    subject.as_str().strip_prefix("$JS.API.")
}

/// Where hosts say that they are there and what they run.
pub fn presence(lattice: &LatticeName) -> Subject {
    Subject(format!("trellis.presence.{lattice}").into())
}

/// Where a peer that joins asks everyone to say so now.
pub fn presence_query(lattice: &LatticeName) -> Subject {
    Subject(format!("trellis.presence.{lattice}.query").into())
}

/// Where an event is published (lattice v1 §2; the prefix is fixed).
pub fn event(lattice: &LatticeName, name: EventName) -> Subject {
    Subject(format!("wasmbus.evt.{lattice}.{name}").into())
}

/// All events of a lattice.
pub fn events(lattice: &LatticeName) -> Subject {
    Subject(format!("wasmbus.evt.{lattice}.>").into())
}

/// The subjects of the API of wadm v1 for one lattice, under the default prefix.
#[derive(Debug, Clone)]
pub struct Models {
    base: Arc<str>,
    status: Arc<str>,
}

impl Models {
    /// Those of `lattice`.
    pub fn new(lattice: &LatticeName) -> Self {
        Self { base: format!("wadm.api.{lattice}.model").into(), status: format!("wadm.status.{lattice}").into() }
    }

    /// What every wadm subscribes to in a queue group: one answers.
    pub fn all(&self) -> (Subject, QueueGroup) {
        (Subject(format!("{}.>", self.base).into()), QueueGroup("wadm_server".into()))
    }

    /// An operation on all applications: `get`, `list`, `put`, `plan`.
    pub fn on_all(&self, operation: ModelOperation) -> Subject {
        Subject(format!("{}.{}", self.base, operation.as_str()).into())
    }

    /// An operation on one application, whose name follows the rules of [`EntityId`].
    ///
    /// # Errors
    /// When it does not.
    pub fn on_app(&self, operation: ModelOperation, app: &str) -> Result<Subject, InvalidId> {
        let app = EntityId::parse(app)?;
        Ok(Subject(format!("{}.{}.{app}", self.base, operation.as_str()).into()))
    }

    /// Where the status of an application is published when it changes.
    ///
    /// # Errors
    /// As [`Self::on_app`].
    pub fn status(&self, app: &str) -> Result<Subject, InvalidId> {
        Ok(Subject(format!("{}.{}", self.status, EntityId::parse(app)?).into()))
    }

    /// The operation and the application of a subject under this base.
    pub fn parse<'a>(&self, subject: &'a Subject) -> Option<(ModelOperation, Option<&'a str>)> {
        let tail = subject.as_str().strip_prefix(&*self.base)?.strip_prefix('.')?;
        let (operation, app) = tail.split_once('.').map_or((tail, None), |(operation, app)| (operation, Some(app)));
        Some((ModelOperation::ALL.into_iter().find(|known| known.as_str() == operation)?, app))
    }
}

/// The subjects of the control interface v1 of one lattice, under the default prefix.
#[derive(Debug, Clone)]
pub struct Control {
    base: Arc<str>,
    /// Ours: what any one host would do for the lattice, asked of one by name.
    named: Arc<str>,
}

impl Control {
    /// Those of `lattice`.
    pub fn new(lattice: &LatticeName) -> Self {
        Self { base: format!("wasmbus.ctl.v1.{lattice}").into(), named: format!("trellis.ctl.{lattice}").into() }
    }

    /// An operation on one host: `component.scale.<host>`, `host.get.<host>`, …
    pub fn on_host(&self, operation: HostOperation, host: &HostId) -> Subject {
        Subject(format!("{}.{}.{host}", self.base, operation.tail()).into())
    }

    /// What one host subscribes to for operations on itself, without a queue group.
    pub fn all_on_host(&self, host: &HostId) -> [Subject; 5] {
        let own = |noun: &str| Subject(format!("{}.{noun}.*.{host}", self.base).into());
        let named = Subject(format!("{}.{host}.>", self.named).into());
        [own("component"), own("provider"), own("label"), own("host"), named]
    }

    /// A subject that any one host answers for the lattice (`link.put`, `config.put.<name>`), for one host in particular.
    pub fn named(&self, shared: &Subject, host: &HostId) -> Option<Subject> {
        let tail = shared.as_str().strip_prefix(&*self.base)?;
        Some(Subject(format!("{}.{host}{tail}", self.named).into()))
    }

    /// An operation that any one host answers for the lattice, or that all answer.
    pub fn on_lattice(&self, operation: LatticeOperation) -> Subject {
        Subject(format!("{}.{}", self.base, operation.tail()).into())
    }

    /// `config.put.<name>`, `config.get.<name>`, `config.del.<name>`.
    pub fn on_config(&self, verb: ConfigVerb, name: &ConfigName) -> Subject {
        Subject(format!("{}.config.{}.{name}", self.base, verb.as_str()).into())
    }

    /// `secret.put.<name>`, `secret.get.<name>`, `secret.del.<name>`: ours, in the manner of configs.
    pub fn on_secret(&self, verb: ConfigVerb, name: &SecretName) -> Subject {
        Subject(format!("{}.secret.{}.{name}", self.base, verb.as_str()).into())
    }

    /// What every host subscribes to in a queue group: one answers for the lattice.
    pub fn shared(&self) -> [(Subject, QueueGroup); 4] {
        let tails = [("link.*", "link"), ("claims.get", "claims"), ("config.>", "config"), ("secret.>", "secret")];
        tails.map(|(tail, group)| {
            (Subject(format!("{}.{tail}", self.base).into()), QueueGroup(format!("{}.{group}", self.base).into()))
        })
    }

    /// What every host subscribes to without a queue group: all answer, or those that can.
    pub fn broadcast(&self) -> [Subject; 4] {
        [
            LatticeOperation::HostPing,
            LatticeOperation::ComponentAuction,
            LatticeOperation::ProviderAuction,
            LatticeOperation::RegistryPut,
        ]
        .map(|operation| self.on_lattice(operation))
    }

    /// The noun, the verb and what follows them in a subject of control.
    pub fn parse<'a>(&self, subject: &'a Subject) -> Option<(&'a str, &'a str, Option<&'a str>)> {
        let under = |base: &str| subject.as_str().strip_prefix(base)?.strip_prefix('.');
        let named = || Some(under(&self.named)?.split_once('.')?.1);
        let tail = under(&self.base).or_else(named)?;
        let mut parts = tail.splitn(3, '.');
        Some((parts.next()?, parts.next()?, parts.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, HostOperation, LatticeName, ModelOperation, Models, Subject};

    fn subject(text: &str) -> Subject {
        Subject::from_wire(text).expect("valid")
    }

    #[test]
    fn wildcards_match_as_nats_has_it() {
        for (pattern, text, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("*.b", "a.b", true),
            ("a.b.c", "a.b", false),
        ] {
            assert_eq!(subject(pattern).matches(&subject(text)), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x 0", "a\0", &"a".repeat(10_240)] {
            assert!(Subject::from_wire(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn control_subjects_are_those_of_v1() {
        let lattice = LatticeName::parse("default").expect("valid");
        let host = crate::id::HostId::parse(&nkeys::KeyPair::new_server().public_key()).expect("valid");
        let control = Control::new(&lattice);
        let scale = control.on_host(HostOperation::ComponentScale, &host);
        assert_eq!(scale.as_str(), format!("wasmbus.ctl.v1.default.component.scale.{host}"));
        assert_eq!(control.parse(&scale), Some(("component", "scale", Some(host.as_str()))));
        assert!(control.all_on_host(&host)[0].matches(&scale));
    }

    #[test]
    fn what_any_host_does_can_be_asked_of_one_by_name() {
        let control = Control::new(&LatticeName::parse("default").expect("valid"));
        let host = crate::id::HostId::parse(&nkeys::KeyPair::new_server().public_key()).expect("valid");
        let shared = control.on_config(super::ConfigVerb::Put, &crate::id::ConfigName::parse("door").expect("valid"));
        let named = control.named(&shared, &host).expect("a subject of control");
        assert_eq!(named.as_str(), format!("trellis.ctl.default.{host}.config.put.door"));
        assert_eq!(control.parse(&named), Some(("config", "put", Some("door"))));
        assert!(control.all_on_host(&host).iter().any(|pattern| pattern.matches(&named)));
        assert!(control.shared().iter().all(|(pattern, _)| !pattern.matches(&named)), "no other host takes it");
    }

    #[test]
    fn subjects_of_wadm_are_those_of_v1() {
        let models = Models::new(&LatticeName::parse("default").expect("valid"));
        let deploy = models.on_app(ModelOperation::Deploy, "shop").expect("valid");
        assert_eq!(deploy.as_str(), "wadm.api.default.model.deploy.shop");
        assert!(models.all().0.matches(&deploy));
        assert_eq!(models.parse(&deploy), Some((ModelOperation::Deploy, Some("shop"))));
        assert_eq!(models.parse(&models.on_all(ModelOperation::List)), Some((ModelOperation::List, None)));
        assert_eq!(models.parse(&subject("wadm.api.default.model.frobnicate")), None);
        assert_eq!(models.status("shop").expect("valid").as_str(), "wadm.status.default.shop");
        assert!(models.on_app(ModelOperation::Get, "a.b").is_err());
    }
}
