//! What is asked, by the names that are part of subjects.

/// Operations on applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as wadm v1 names them; `rollback` and `plan` are ours")]
pub enum ModelOperation {
    Put,
    Get,
    List,
    Versions,
    Del,
    Deploy,
    Undeploy,
    Status,
    History,
    Rollback,
    Plan,
}

impl ModelOperation {
    pub(super) const ALL: [Self; 11] = [
        Self::Put,
        Self::Get,
        Self::List,
        Self::Versions,
        Self::Del,
        Self::Deploy,
        Self::Undeploy,
        Self::Status,
        Self::History,
        Self::Rollback,
        Self::Plan,
    ];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::List => "list",
            Self::Versions => "versions",
            Self::Del => "del",
            Self::Deploy => "deploy",
            Self::Undeploy => "undeploy",
            Self::Status => "status",
            Self::History => "history",
            Self::Rollback => "rollback",
            Self::Plan => "plan",
        }
    }
}

/// Operations addressed to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as lattice v1 names them")]
pub enum HostOperation {
    ComponentScale,
    ComponentUpdate,
    ProviderStart,
    ProviderStop,
    HostGet,
    HostStop,
    LabelPut,
    LabelDel,
}

impl HostOperation {
    /// Its name: the noun and the verb.
    pub fn tail(self) -> &'static str {
        match self {
            Self::ComponentScale => "component.scale",
            Self::ComponentUpdate => "component.update",
            Self::ProviderStart => "provider.start",
            Self::ProviderStop => "provider.stop",
            Self::HostGet => "host.get",
            Self::HostStop => "host.stop",
            Self::LabelPut => "label.put",
            Self::LabelDel => "label.del",
        }
    }
}

/// Operations addressed to the lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as lattice v1 names them; `LinkCheck` and `SecretList` are ours")]
pub enum LatticeOperation {
    HostPing,
    ComponentAuction,
    ProviderAuction,
    RegistryPut,
    LinkPut,
    LinkCheck,
    LinkGet,
    LinkDel,
    ClaimsGet,
    SecretList,
}

impl LatticeOperation {
    /// Its name: the noun and the verb.
    pub fn tail(self) -> &'static str {
        match self {
            Self::HostPing => "host.ping",
            Self::ComponentAuction => "component.auction",
            Self::ProviderAuction => "provider.auction",
            Self::RegistryPut => "registry.put",
            Self::LinkPut => "link.put",
            Self::LinkCheck => "link.check",
            Self::LinkGet => "link.get",
            Self::LinkDel => "link.del",
            Self::ClaimsGet => "claims.get",
            Self::SecretList => "secret.list",
        }
    }
}

/// Operations on a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as lattice v1 names them")]
pub enum ConfigVerb {
    Put,
    Get,
    Del,
}

impl ConfigVerb {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Del => "del",
        }
    }
}
