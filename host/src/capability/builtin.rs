//! Which interfaces every host has built in, and which of them do nothing until something is linked.
//!
//! Version numbers follow semantic versioning, as wasmtime's linker does; pre-release versions match by name only.

use trellis_lattice::contract::Interface;

/// What an actor needs before it may import a built-in interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the host answers by itself.
    Nothing,
    /// A link that covers the interface: calls go where it leads.
    Link,
}

/// How the versions of a built-in interface are matched.
enum Version {
    /// Any patch release of `0.2` or `0.3`.
    Patch(&'static str),
    /// This one only; `None` is no version at all.
    Exactly(Option<&'static str>),
    /// Any release of this major version.
    Major(&'static str),
}

const IMPORTS: &[(&str, Version, Need)] = &[
    ("wasi:http/types", Version::Patch("0.2"), Need::Nothing),
    ("wasi:http/types", Version::Patch("0.3"), Need::Nothing),
    ("wasi:http/outgoing-handler", Version::Patch("0.2"), Need::Link),
    ("wasi:http/client", Version::Patch("0.3"), Need::Link),
    ("wasi:keyvalue/store", Version::Exactly(Some("0.2.0-draft")), Need::Link),
    ("wasi:keyvalue/atomics", Version::Exactly(Some("0.2.0-draft")), Need::Link),
    ("wasi:keyvalue/batch", Version::Exactly(Some("0.2.0-draft")), Need::Link),
    ("wasi:keyvalue/store", Version::Exactly(Some("0.2.0-draft2")), Need::Link),
    ("wasi:keyvalue/atomics", Version::Exactly(Some("0.2.0-draft2")), Need::Link),
    ("wasi:keyvalue/batch", Version::Exactly(Some("0.2.0-draft2")), Need::Link),
    ("wasi:config/store", Version::Exactly(Some("0.2.0-draft")), Need::Nothing),
    ("wasi:config/store", Version::Exactly(Some("0.2.0-rc.1")), Need::Nothing),
    ("wasi:config/runtime", Version::Exactly(Some("0.2.0-draft")), Need::Nothing),
    ("wasi:config/runtime", Version::Exactly(None), Need::Nothing),
    ("wasi:logging/logging", Version::Exactly(Some("0.1.0-draft")), Need::Nothing),
    ("wasi:logging/logging", Version::Exactly(None), Need::Nothing),
    ("wasmcloud:messaging/types", Version::Patch("0.2"), Need::Nothing),
    ("wasmcloud:messaging/consumer", Version::Patch("0.2"), Need::Link),
    ("wasmcloud:secrets/store", Version::Exactly(Some("0.1.0-draft")), Need::Nothing),
    ("wasmcloud:secrets/reveal", Version::Exactly(Some("0.1.0-draft")), Need::Nothing),
    ("wasmcloud:bus/lattice", Version::Major("1"), Need::Nothing),
    ("wasmcloud:bus/lattice", Version::Major("2"), Need::Nothing),
];

/// What an actor exports; of wasi:http, then, what another one calls it by.
const SERVED: &[(&str, Version)] = &[
    ("wasi:keyvalue/watcher", Version::Exactly(Some("0.2.0-draft"))),
    ("wasi:keyvalue/watcher", Version::Exactly(Some("0.2.0-draft2"))),
    ("wasi:http/incoming-handler", Version::Patch("0.2")),
    ("wasi:http/handler", Version::Patch("0.3")),
    ("wasi:http/outgoing-handler", Version::Patch("0.2")),
    ("wasi:http/client", Version::Patch("0.3")),
];

/// The packages of WASI itself, which give a guest nothing of the host but time and randomness.
const WASI: &[&str] = &["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// What an actor needs to import `interface`; `None` when it is not built in: a custom interface.
pub fn builtin(interface: &Interface) -> Option<Need> {
    if interface.namespace() == "wasi" && WASI.contains(&interface.package()) {
        let known = ["0.2", "0.3"].into_iter().any(|series| Version::Patch(series).matches(interface.version()));
        return known.then_some(Need::Nothing);
    }
    let matches = |(name, version, _): &&(&str, Version, Need)| {
        *name == interface.without_version() && version.matches(interface.version())
    };
    IMPORTS.iter().find(matches).map(|(_, _, need)| *need)
}

/// Whether calls to an actor by `interface` go by a typed bridge: it exports `interface`, or what answers to it.
pub fn is_builtin_export(interface: &Interface) -> bool {
    let matches = |(name, version): &(&str, Version)| {
        // Who calls does not know against which version an actor was built, and names none.
        *name == interface.without_version() && interface.version().is_none_or(|given| version.matches(Some(given)))
    };
    SERVED.iter().any(matches)
}

impl Version {
    fn matches(&self, version: Option<&str>) -> bool {
        match self {
            Self::Exactly(wanted) => *wanted == version,
            Self::Patch(series) => version.and_then(|version| release_after(version, series)).is_some_and(is_number),
            Self::Major(major) => {
                let rest = version.and_then(|version| release_after(version, major));
                rest.and_then(|rest| rest.split_once('.'))
                    .is_some_and(|(minor, patch)| is_number(minor) && is_number(patch))
            }
        }
    }
}

fn release_after<'a>(version: &'a str, series: &str) -> Option<&'a str> {
    version.strip_prefix(series)?.strip_prefix('.')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Need, builtin, is_builtin_export};
    use trellis_lattice::contract::Interface;

    fn check(name: &str, expected: Option<Need>) {
        assert_eq!(builtin(&Interface::parse(name).expect("valid")), expected, "{name}");
    }

    #[test]
    fn releases_match_by_series_and_drafts_by_name() {
        for patch in ["0.2.0", "0.2.6", "0.2.12", "0.3.0", "0.3.2"] {
            check(&format!("wasi:io/streams@{patch}"), Some(Need::Nothing));
            check(&format!("wasi:http/types@{patch}"), Some(Need::Nothing));
        }
        check("wasi:http/outgoing-handler@0.2.9", Some(Need::Link));
        check("wasi:http/client@0.3.0", Some(Need::Link));
        check("wasi:keyvalue/store@0.2.0-draft", Some(Need::Link));
        check("wasi:keyvalue/atomics@0.2.0-draft2", Some(Need::Link));
        check("wasi:config/runtime", Some(Need::Nothing));
        check("wasi:logging/logging", Some(Need::Nothing));
        check("wasmcloud:messaging/types@0.2.0", Some(Need::Nothing));
        check("wasmcloud:messaging/consumer@0.2.1", Some(Need::Link));
        check("wasmcloud:secrets/store@0.1.0-draft", Some(Need::Nothing));
        check("wasmcloud:bus/lattice@2.0.1", Some(Need::Nothing));
        for unknown in [
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:io/streams@0.4.0",
            "wasi:io/streams",
            "wasi:http/client@0.2.0",
            "wasi:keyvalue/store@0.2.0-draft3",
            "wasi:keyvalue/store",
            "wasi:config/store@0.2.0",
            "wasmcloud:messaging/consumer@0.3.0",
            "wasmcloud:messaging/handler@0.2.0",
            "wasmcloud:bus/lattice@3.0.0",
            "wasmcloud:bus/lattice@2.0",
            "demo:greet/greeter",
        ] {
            check(unknown, None);
        }
    }

    #[test]
    fn only_contracts_of_our_own_are_called_by_a_typed_bridge() {
        let check = |name: &str| is_builtin_export(&Interface::parse(name).expect("valid"));
        assert!(check("wasi:http/incoming-handler@0.2.3") && check("wasi:http/handler@0.3.0"));
        assert!(check("wasi:keyvalue/watcher") && check("wasi:keyvalue/watcher@0.2.0-draft2"));
        assert!(!check("wasi:http/handler@0.2.3") && !check("demo:greet/greeter"));
    }
}
