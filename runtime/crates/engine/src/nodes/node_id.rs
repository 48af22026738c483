//! The name of a node, for people: in logs, metrics, and as the beginning of the name in leases.

use std::fmt;

use crate::clock;

/// Longest name, characters: a host name's label.
const CHARS_MAX: usize = 63;
/// Characters of a host's name that are kept beside a random end.
const HOST_CHARS: usize = 40;
/// Characters of the random end.
const RANDOM_CHARS: usize = 8;

/// The name of a node: letters, digits, `.`, `_` and `-`, at most 63 of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeId(String);

/// A text that is no name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a node's name has 1 to 63 letters, digits, dots, underscores or hyphens, and begins with a letter or a digit"
)]
pub struct InvalidNodeId;

impl NodeId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidNodeId`] for a text that is none.
    pub fn parse(text: &str) -> Result<Self, InvalidNodeId> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= CHARS_MAX && text.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNodeId)
        }
    }

    /// A name for this process alone: that of its host, and a random end, because a host may have several.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let plain = host
            .trim()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' });
        let kept: String = plain.skip_while(|c| !c.is_ascii_alphanumeric()).take(HOST_CHARS).collect();
        let kept = if kept.is_empty() { "node".to_owned() } else { kept };
        Self(format!("{kept}-{}", random_end()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this process in leases. Why not the node's alone: a node that was started again must not take the
    /// lease of its former process, or of another one with the same name, for its own.
    pub(crate) fn holder(&self) -> String {
        format!("{}.{}", self.0, random_end())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Random characters. Why from the end: an identifier begins with its time.
fn random_end() -> String {
    let text = clock::fresh_text("node");
    text.chars().skip(text.len().saturating_sub(RANDOM_CHARS)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_plain_characters_and_is_not_long() {
        for good in ["a", "node-1", "eu.west_2", "7", &"x".repeat(63)] {
            assert_eq!(NodeId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a\n", "ä", &"x".repeat(64)] {
            assert_eq!(NodeId::parse(bad), Err(InvalidNodeId), "{bad:?}");
        }
    }

    #[test]
    fn a_host_s_name_becomes_one_that_no_other_process_has() {
        for (host, begins) in
            [("web-1.example", "web-1.example-"), ("", "node-"), ("--", "node-"), ("a b\n", "a-b-")]
        {
            let (one, other) = (NodeId::of_host(host), NodeId::of_host(host));
            assert!(one.as_str().starts_with(begins), "{one}");
            assert_ne!(one, other);
            assert_eq!(NodeId::parse(one.as_str()), Ok(one));
        }
        NodeId::parse(NodeId::of_host(&"x".repeat(300)).as_str()).unwrap();
    }

    #[test]
    fn two_lives_of_a_node_have_two_names_in_leases() {
        let node = NodeId::parse("a").unwrap();
        assert_ne!(node.holder(), node.holder());
    }
}
