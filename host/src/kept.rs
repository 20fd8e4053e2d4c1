//! State of a host on its own disk, as text that shows whether it was damaged: a line with a checksum, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

const PREFIX: &str = "blake3:";

/// `value` as it is written to a file.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let text = serde_json::to_string_pretty(value).expect("what is kept has a JSON form");
    format!("{PREFIX}{}\n{text}\n", blake3::hash(text.as_bytes()).to_hex()).into_bytes()
}

/// What [`encode`] wrote.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (checksum, text) = text.split_once('\n').ok_or("it is cut off")?;
    let text = text.trim_end();
    if checksum.strip_prefix(PREFIX) != Some(blake3::hash(text.as_bytes()).to_hex().as_str()) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn damage_of_any_byte_is_noticed() {
        let kept = encode(&vec!["one", "two"]);
        assert_eq!(decode::<Vec<String>>(&kept), Ok(vec!["one".to_owned(), "two".to_owned()]));
        for at in 0..kept.len() - 1 {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            assert!(decode::<Vec<String>>(&damaged).is_err(), "byte {at}");
            assert!(decode::<Vec<String>>(&kept[..at]).is_err(), "cut at {at}");
        }
    }
}
