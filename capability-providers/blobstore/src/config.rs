//! What the provider and its links may configure. Nothing else reads a config map.

use std::path::PathBuf;

use trellis_provider_sdk::config::{BYTE_SIZE, Form, known, known_of_link, optional, optional_secret, required};
use trellis_provider_sdk::{ActiveLink, LinkError, Secret, StringMap};

use crate::name::ContainerName;

/// All keys, of links and of the provider.
const KEYS: [&str; 12] = [
    "access_key_id",
    "backend",
    "bucket",
    "container",
    "endpoint",
    "max_object_size",
    "prefix",
    "read_only",
    "region",
    "root",
    "secret_access_key",
    "session_token",
];

const BACKEND: Form<Kind> = Form { expected: "`fs` or `s3`", example: "s3", parse: kind };
const ROOT: Form<PathBuf> = Form { expected: "the absolute path of a folder", example: "/srv/blobs", parse: folder };
const PREFIX: Form<ContainerName> =
    Form { expected: "a name without slashes, not beginning with a dot", example: "orders", parse: name };
const CONTAINER: Form<ContainerName> =
    Form { expected: "a name without slashes, not beginning with a dot", example: "invoices", parse: name };
const READ_ONLY: Form<bool> = Form { expected: "`true` or `false`", example: "true", parse: |text| text.parse().ok() };
const ENDPOINT: Form<String> =
    Form { expected: "the URL of an S3 server, without path", example: "https://s3.internal:9000", parse: endpoint };
const BUCKET: Form<String> =
    Form { expected: "3 to 63 letters, digits, `-` or `.`", example: "trellis-blobs", parse: bucket };
const REGION: Form<String> = Form { expected: "the name of a region", example: "eu-central-1", parse: token };
const ACCESS_KEY_ID: Form<String> =
    Form { expected: "the id of an access key", example: "AKIAIOSFODNN7EXAMPLE", parse: token };
const SECRET_ACCESS_KEY: Form<Secret> = Form {
    expected: "the secret of the access key",
    example: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    parse: secret,
};
const SESSION_TOKEN: Form<Secret> =
    Form { expected: "the token that came with a key that expires", example: "FwoGZXIvYXdzEXAMPLE", parse: secret };

/// What an object may have when the link does not say: as much as S3 takes.
const MAX_OBJECT_BYTES: u64 = 5 << 40;

/// The config of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkConfig {
    /// Where the objects are.
    pub(crate) backend: Backend,
    /// Sets the containers of this link apart from those of links with another prefix.
    pub(crate) prefix: Option<ContainerName>,
    /// The only container of this link.
    pub(crate) container: Option<ContainerName>,
    /// Whether its actor may change anything.
    pub(crate) access: Access,
    /// The largest object that it may write.
    pub(crate) max_object_bytes: u64,
}

/// What the actor of a link may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// All.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// Where objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In a folder of this machine; the provider's own when no other is named.
    Folder(Option<PathBuf>),
    /// On a server.
    S3(S3),
}

/// A bucket on an S3 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3 {
    /// Its URL; none is that of the region.
    pub(crate) endpoint: Option<String>,
    /// The bucket, which exists.
    pub(crate) bucket: String,
    /// The region.
    pub(crate) region: String,
    /// Whose key it is.
    pub(crate) access_key_id: String,
    /// The key.
    pub(crate) secret_access_key: Secret,
    /// With keys that expire.
    pub(crate) session_token: Option<Secret>,
}

#[derive(Clone, Copy)]
enum Kind {
    Folder,
    S3,
}

impl LinkConfig {
    /// Reads it: what the link does not say is taken from the config of the provider.
    pub(crate) fn parse(provider: &StringMap, link: &ActiveLink) -> Result<Self, LinkError> {
        known(provider, &KEYS)?;
        known_of_link(link, &KEYS)?;
        let mut link = link.clone();
        let own = std::mem::replace(&mut link.config, provider.clone());
        link.config.extend(own);
        let config = &link.config;
        let read_only = optional(config, "read_only", &READ_ONLY)?.unwrap_or(false);
        Ok(Self {
            backend: Backend::parse(&link)?,
            prefix: optional(config, "prefix", &PREFIX)?,
            container: optional(config, "container", &CONTAINER)?,
            access: if read_only { Access::ReadOnly } else { Access::ReadWrite },
            max_object_bytes: optional(config, "max_object_size", &BYTE_SIZE)?.unwrap_or(MAX_OBJECT_BYTES),
        })
    }
}

impl Backend {
    fn parse(link: &ActiveLink) -> Result<Self, LinkError> {
        let config = &link.config;
        match optional(config, "backend", &BACKEND)?.unwrap_or(Kind::Folder) {
            Kind::Folder => Ok(Self::Folder(optional(config, "root", &ROOT)?)),
            Kind::S3 => Ok(Self::S3(S3 {
                endpoint: optional(config, "endpoint", &ENDPOINT)?,
                bucket: required(config, "bucket", &BUCKET)?,
                region: optional(config, "region", &REGION)?.unwrap_or_else(|| "us-east-1".to_owned()),
                access_key_id: required(config, "access_key_id", &ACCESS_KEY_ID)?,
                secret_access_key: secret_access_key(link)?,
                session_token: optional_secret(link, "session_token", &SESSION_TOKEN)?,
            })),
        }
    }
}

fn secret_access_key(link: &ActiveLink) -> Result<Secret, LinkError> {
    let key = "secret_access_key";
    optional_secret(link, key, &SECRET_ACCESS_KEY)?.ok_or_else(|| LinkError::Config {
        key: key.to_owned(),
        problem: "is missing".to_owned(),
        expected: SECRET_ACCESS_KEY.expected,
        example: SECRET_ACCESS_KEY.example,
    })
}

fn kind(text: &str) -> Option<Kind> {
    match text {
        "fs" => Some(Kind::Folder),
        "s3" => Some(Kind::S3),
        _ => None,
    }
}

fn folder(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    path.is_absolute().then_some(path)
}

fn name(text: &str) -> Option<ContainerName> {
    ContainerName::parse(text).ok()
}

fn endpoint(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    (is_http && is_bare).then(|| text.trim_end_matches('/').to_owned())
}

fn bucket(text: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    ((3..=63).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
}

fn token(text: &str) -> Option<String> {
    ((1..=4_096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

fn secret(text: &str) -> Option<Secret> {
    token(text).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::{Access, Backend, KEYS, LinkConfig, S3};
    use trellis_provider_sdk::testing::{as_target, config, documented_keys, link, with_secrets};
    use trellis_provider_sdk::{LinkError, Secret};

    const S3_KEYS: [(&str, &str); 4] =
        [("backend", "s3"), ("bucket", "blobs"), ("access_key_id", "id"), ("secret_access_key", "s3cr3t")];

    fn parse(provider: &[(&str, &str)], pairs: &[(&str, &str)]) -> Result<LinkConfig, LinkError> {
        let link = link("a", "blobs", &["wasi:blobstore/blobstore"]);
        LinkConfig::parse(&config(provider), &as_target(link, pairs))
    }

    #[test]
    fn a_wrong_key_is_named_with_an_example() {
        for (key, value, example) in [
            ("backend", "azure", "s3"),
            ("root", "srv/blobs", "/srv/blobs"),
            ("prefix", "a/b", "orders"),
            ("prefix", "..", "orders"),
            ("container", ".hidden", "invoices"),
            ("read_only", "yes", "true"),
            ("max_object_size", "big", "16MiB"),
        ] {
            let error = parse(&[], &[(key, value)]).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(value) && error.contains(example), "{error}");
        }
        for (key, value, example) in [
            ("endpoint", "ftp://a", "https://s3.internal:9000"),
            ("endpoint", "https://a/path", "https://s3.internal:9000"),
            ("endpoint", "https://user:pass@a", "https://s3.internal:9000"),
            ("bucket", "a", "trellis-blobs"),
            ("bucket", "a/b/c", "trellis-blobs"),
            ("region", "", "eu-central-1"),
            ("access_key_id", "a b", "AKIAIOSFODNN7EXAMPLE"),
        ] {
            let error = parse(&S3_KEYS, &[(key, value)]).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
    }

    #[test]
    fn a_missing_key_is_named_and_a_secret_is_never_shown() {
        for key in ["bucket", "access_key_id", "secret_access_key"] {
            let rest: Vec<_> = S3_KEYS.into_iter().filter(|(name, _)| *name != key).collect();
            let error = parse(&[], &rest).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains("is missing"), "{error}");
        }
        let odd = [("secret_access_key", "hush hush")];
        let error = parse(&S3_KEYS, &odd).expect_err("has a space").to_string();
        assert!(error.contains("secret_access_key") && !error.contains("hush"), "{error}");
        let shown = format!("{:?}", parse(&S3_KEYS, &[]));
        assert!(shown.contains("***") && !shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn a_link_says_more_than_the_provider() {
        let link = [("bucket", "others"), ("read_only", "true"), ("max_object_size", "1KiB")];
        let parsed = parse(&S3_KEYS, &link).expect("valid");
        let expected = S3 {
            endpoint: None,
            bucket: "others".into(),
            region: "us-east-1".into(),
            access_key_id: "id".into(),
            secret_access_key: Secret::new("s3cr3t"),
            session_token: None,
        };
        assert_eq!(parsed.backend, Backend::S3(expected));
        assert_eq!((parsed.access, parsed.max_object_bytes), (Access::ReadOnly, 1_024));
        let bare = parse(&[], &[]).expect("valid");
        assert_eq!((bare.backend, bare.access), (Backend::Folder(None), Access::ReadWrite));
    }

    #[test]
    fn the_key_may_be_a_secret_of_the_link() {
        let link = link("a", "blobs", &["wasi:blobstore/blobstore"]);
        let link = with_secrets(as_target(link, &[]), &[("secret_access_key", "sealed"), ("session_token", "token")]);
        match LinkConfig::parse(&config(&S3_KEYS), &link).expect("valid").backend {
            Backend::S3(s3) => {
                assert_eq!(
                    (s3.secret_access_key, s3.session_token),
                    (Secret::new("sealed"), Some(Secret::new("token")))
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_readme_has_all_keys_and_no_others_are_taken() {
        let keys = KEYS;
        assert_eq!(documented_keys(include_str!("../README.md")), keys.iter().map(|key| (*key).to_owned()).collect());
        let error = parse(&[], &[("read_onyl", "true")]).expect_err("misspelt").to_string();
        assert!(error.contains("\"read_onyl\" is not known") && error.contains("e.g. \"read_only\""), "{error}");
        assert!(parse(&[("buckett", "b")], &[]).is_err(), "nor of the provider");
    }
}
