//! The fencing token of a command: an extra member `fence` of its JSON object, so that hosts refuse what a wadm says
//! that another one has taken over from.
//!
//! Clients of lattice v1 send none, and hosts of lattice v1 ignore it. In a config, whose members are texts, a number
//! cannot be meant for anything else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of the member.
const FENCE: &str = "fence";
/// Its name in a config that has a member of that name itself.
const QUALIFIED: &str = "trellis.dev/fence";

/// `command` as JSON, with the fencing token if there is one. A command without a body becomes an object.
pub fn encode(command: &impl Serialize, fence: Option<u64>) -> Vec<u8> {
    let Some(fence) = fence else {
        return serde_json::to_vec(command).expect("commands are maps of strings, lists and numbers");
    };
    let value = serde_json::to_value(command).expect("commands are maps of strings, lists and numbers");
    let mut members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let name = if members.contains_key(FENCE) { QUALIFIED } else { FENCE };
    members.insert(name.to_owned(), fence.into());
    Value::Object(members).to_string().into_bytes()
}

/// The fencing token of a command, if it has one.
pub fn of(command: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Fenced {
        #[serde(default)]
        fence: Option<Value>,
        #[serde(default, rename = "trellis.dev/fence")]
        qualified: Option<Value>,
    }
    let Fenced { fence, qualified } = serde_json::from_slice(command).ok()?;
    [qualified, fence].into_iter().flatten().find_map(|fence| fence.as_u64())
}

/// A command whose members are all its own (a config) without the fencing token.
///
/// # Errors
/// When it is not a JSON object.
pub fn strip(command: &[u8]) -> serde_json::Result<Value> {
    let mut members: Map<String, Value> = serde_json::from_slice(command)?;
    members.retain(|name, value| !(value.is_u64() && [FENCE, QUALIFIED].contains(&name.as_str())));
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::{encode, of, strip};
    use serde_json::json;

    #[test]
    fn a_token_goes_with_the_command_and_comes_off_again() {
        let command = json!({"key": "value"});
        assert_eq!(encode(&command, None), br#"{"key":"value"}"#);
        let fenced = encode(&command, Some(7));
        assert_eq!(of(&fenced), Some(7));
        assert_eq!(strip(&fenced).expect("an object"), command);
        assert_eq!(of(&encode(&(), Some(8))), Some(8));
    }

    #[test]
    fn a_config_may_have_a_member_of_that_name() {
        let config = json!({"fence": "wooden"});
        assert_eq!(strip(config.to_string().as_bytes()).expect("an object"), config);
        assert_eq!(of(config.to_string().as_bytes()), None);
        assert_eq!(of(b""), None);
        let fenced = encode(&config, Some(7));
        assert_eq!((of(&fenced), strip(&fenced).expect("an object")), (Some(7), config));
    }
}
