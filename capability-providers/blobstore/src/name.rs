//! Names of containers and objects: what both backends can hold, and no path that leads out of its container.

/// The longest name of an object, as S3 has it.
const OBJECT_BYTES: usize = 1_024;
/// The longest part of a name between slashes, as file systems have it.
const SEGMENT_BYTES: usize = 255;

/// The name of a container, or a prefix: one part of a path, and none that is hidden.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ContainerName(String);

impl ContainerName {
    /// Checks it.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        // What begins with a dot at the top is ours.
        let reason = if name.starts_with('.') { Some("begins with a dot") } else { wrong_segment(name) };
        match reason {
            None if !name.contains('/') => Ok(Self(name.to_owned())),
            reason => Err(format!("container name {} {}", shown(name), reason.unwrap_or("has a slash"))),
        }
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an object: parts with slashes between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ObjectName(String);

impl ObjectName {
    /// Checks it.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let reason = if name.len() > OBJECT_BYTES {
            Some("is longer than 1024 bytes")
        } else {
            name.split('/').find_map(wrong_segment)
        };
        match reason {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(format!("object name {} {reason}", shown(name))),
        }
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts before the last, and the last.
    pub(crate) fn split(&self) -> (Vec<&str>, &str) {
        let mut segments: Vec<&str> = self.0.split('/').collect();
        let last = segments.pop().unwrap_or_default();
        (segments, last)
    }
}

/// What is wrong with a part of a name between slashes.
pub(crate) fn wrong_segment(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("has an empty part; parts are divided by single slashes"),
        "." | ".." => Some("has a part that is only dots"),
        _ if segment.len() > SEGMENT_BYTES => Some("has a part that is longer than 255 bytes"),
        _ if segment.chars().any(char::is_control) => Some("has a control character"),
        _ => None,
    }
}

/// A name that came from outside, in a message.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{ContainerName, ObjectName};

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        let longer = "x/".repeat(513) + "x";
        for name in ["", ".", "..", "../a", "a/../b", "a/./b", "/a", "a/", "a//b", "a\0b", "a\nb", &long, &longer] {
            let error = ObjectName::parse(name).expect_err(name);
            assert!(error.starts_with("object name \""), "{error}");
            assert!(ContainerName::parse(name).is_err(), "{name}");
        }
        for name in [".staging", ".containers", "a/b"] {
            assert!(ContainerName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn other_names_are_taken_as_they_are() {
        for name in ["a", "a b", "ä/ö", "...", ".hidden/x", "100%", "a\\b", "~", "c:", "x?y#z", "-rf", "a*"] {
            assert_eq!(ObjectName::parse(name).expect(name).as_str(), name);
        }
        assert_eq!(ObjectName::parse("a/b/c").expect("valid").split(), (vec!["a", "b"], "c"));
        for name in ["a", "a b", "Ü", "100%"] {
            assert_eq!(ContainerName::parse(name).expect(name).as_str(), name);
        }
    }
}
