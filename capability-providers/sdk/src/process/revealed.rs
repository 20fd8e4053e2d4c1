//! Secrets as they go from a host to its own process, over a socket that nobody else has: the one place where their
//! values are written out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{SecretMap, SecretValue};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Revealed<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

pub(crate) fn serialize<S: Serializer>(secrets: &SecretMap, serializer: S) -> Result<S::Ok, S::Error> {
    let revealed = secrets.iter().map(|(name, value)| {
        let value = match value.as_text() {
            Some(text) => Revealed::Text(text.reveal().into()),
            None => Revealed::Bytes(value.reveal().into()),
        };
        (name, value)
    });
    serializer.collect_map(revealed)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretMap, D::Error> {
    let revealed = BTreeMap::<String, Revealed<'static>>::deserialize(deserializer)?;
    let hidden = revealed.into_iter().map(|(name, value)| match value {
        Revealed::Text(text) => (name, SecretValue::text(text.into_owned())),
        Revealed::Bytes(bytes) => (name, SecretValue::bytes(bytes.into_owned())),
    });
    Ok(hidden.collect())
}

#[cfg(test)]
mod tests {
    use crate::{ActiveLink, SecretValue, testing};

    #[test]
    fn a_process_gets_the_secrets_of_its_links() {
        let link = testing::as_target(testing::link("game", "dice", &["demo:dice/roller"]), &[]);
        let secrets = [("key", SecretValue::bytes([0, 255])), ("password", SecretValue::text("hunter2"))];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value)).into();
        let link = ActiveLink { secrets, ..link };
        let text = serde_json::to_string(&link).expect("has a JSON form");
        assert!(text.ends_with(r#""secrets":{"key":{"bytes":[0,255]},"password":{"text":"hunter2"}}}"#), "{text}");
        assert!(include_str!("../../PROTOCOL.md").contains(r#""secrets":{"key":{"bytes":[0,255]}"#));
        let back: ActiveLink = serde_json::from_str(&text).expect("is one");
        assert_eq!(back, link);
    }
}
