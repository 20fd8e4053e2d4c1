//! Which hosts may open a secret.

use serde::{Deserialize, Serialize};

use crate::id::HostId;
use crate::identity::claims::PeerClaims;
use crate::message::command::StringMap;

/// Hosts that may open a secret. Labels are those that the authority granted in a host's token: what a host says of
/// itself counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostGrant {
    /// Every host of the lattice.
    All,
    /// This one.
    Host(HostId),
    /// Those with all of these labels; at least one.
    Labels(StringMap),
}

impl HostGrant {
    /// Whether it means the host that `claims` is about.
    pub fn means(&self, claims: &PeerClaims) -> bool {
        let Some(host) = claims.peer.as_host() else { return false };
        match self {
            Self::All => true,
            Self::Host(granted) => *granted == host,
            Self::Labels(labels) => {
                !labels.is_empty() && labels.iter().all(|(key, value)| claims.labels.get(key) == Some(value))
            }
        }
    }
}

impl std::fmt::Display for HostGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all hosts"),
            Self::Host(host) => write!(f, "{host}"),
            Self::Labels(labels) => {
                let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostGrant;
    use crate::identity::claims::PeerClaims;
    use crate::identity::key::{Key, KeyKind};

    fn claims(kind: KeyKind, labels: &[(&str, &str)]) -> PeerClaims {
        PeerClaims {
            issuer: Key::generate(KeyKind::Account).public().parse().expect("an account"),
            peer: Key::generate(kind).public().parse().expect("a peer"),
            exchange: [7; 32],
            lattice: "default".parse().expect("valid"),
            labels: labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            entity: None,
            call: Vec::new(),
            expires_at: 0,
        }
    }

    #[test]
    fn hosts_are_meant_by_key_or_by_granted_labels_and_others_never() {
        let host = claims(KeyKind::Host, &[("zone", "eu"), ("tier", "1")]);
        let id = host.peer.as_host().expect("a host");
        let labels = |pairs: &[(&str, &str)]| HostGrant::Labels(claims(KeyKind::Host, pairs).labels);
        for (grant, expected) in [
            (HostGrant::All, true),
            (HostGrant::Host(id), true),
            (HostGrant::Host(Key::generate(KeyKind::Host).public().parse().expect("a host")), false),
            (labels(&[("zone", "eu")]), true),
            (labels(&[("zone", "eu"), ("tier", "2")]), false),
            (labels(&[]), false),
        ] {
            assert_eq!(grant.means(&host), expected, "{grant}");
            assert!(!grant.means(&claims(KeyKind::User, &[("zone", "eu")])), "{grant} means no caller");
        }
    }
}
