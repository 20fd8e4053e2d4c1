//! The value of a secret, as it comes in.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use trellis_lattice::secret::SecretValue;
use trellis_lattice::secrets::MAX_SECRET_BYTES;

/// What the value is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Bytes,
}

/// The value in `file` or on standard input.
pub(super) fn read(file: Option<&Path>, form: Form) -> anyhow::Result<SecretValue> {
    let mut bytes = Vec::new();
    let limit = MAX_SECRET_BYTES as u64 + 2;
    match file {
        Some(file) => {
            let open = std::fs::File::open(file).with_context(|| format!("read {}", file.display()))?;
            open.take(limit).read_to_end(&mut bytes).with_context(|| format!("read {}", file.display()))?;
        }
        None if std::io::stdin().is_terminal() => bail!(
            "the value is read from standard input, and a terminal would show it: pipe it in, or name a file with --from"
        ),
        None => {
            std::io::stdin().take(limit).read_to_end(&mut bytes).context("read the value from standard input")?;
        }
    }
    value(bytes, form)
}

fn value(bytes: Vec<u8>, form: Form) -> anyhow::Result<SecretValue> {
    if form == Form::Bytes {
        return Ok(SecretValue::bytes(bytes));
    }
    let Ok(text) = String::from_utf8(bytes) else { bail!("the value is no text; for bytes say --bytes") };
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        bail!("the value is empty");
    }
    Ok(SecretValue::text(text))
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Form, value};
    use trellis_lattice::secret::SecretValue;

    #[test]
    fn of_a_text_one_line_break_at_the_end_is_left_out() {
        for (bytes, text) in [(&b"a\n"[..], "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a b ", " a b ")] {
            assert_eq!(value(bytes.to_vec(), Form::Text).expect("a text"), SecretValue::text(text));
        }
        assert_eq!(value(vec![255, 10], Form::Bytes).expect("bytes"), SecretValue::bytes([255, 10]));
        for bad in [&b""[..], b"\n", b"\xff"] {
            let error = value(bad.to_vec(), Form::Text).expect_err("no value").to_string();
            assert!(error.contains("empty") || error.contains("--bytes"), "{error}");
        }
    }
}
