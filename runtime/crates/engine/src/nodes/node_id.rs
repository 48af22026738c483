//! Names of nodes that nobody gave, and the name of a process in leases.

use portcullis_core::id::{InvalidId, NodeId};

use crate::clock;

/// Characters of a host's name that are kept beside a random end.
const HOST_CHARS: usize = 40;
/// Characters of the random end.
const RANDOM_CHARS: usize = 8;

/// A name for this process alone: that of its host, and a random end, because a host may have several.
///
/// # Errors
/// [`InvalidId`]; what is kept of a host's name can always be one.
pub fn node_of_host(host: &str) -> Result<NodeId, InvalidId> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain = host.trim().chars().map(|c| if is_plain(c) { c } else { '-' });
    let kept: String = plain.skip_while(|c| !c.is_ascii_alphanumeric()).take(HOST_CHARS).collect();
    let kept = if kept.is_empty() { "node" } else { &kept };
    NodeId::parse(&format!("{kept}-{}", random_end()))
}

/// The name of this process in leases. Why not the node's alone: a node that was started again must not take the lease of
/// its former process, or of another one with the same name, for its own.
pub(crate) fn holder(node: &NodeId) -> String {
    format!("{node}.{}", random_end())
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
    fn a_host_s_name_becomes_one_that_no_other_process_has() {
        for (host, begins) in
            [("web-1.example", "web-1.example-"), ("", "node-"), ("--", "node-"), ("a b\n", "a-b-")]
        {
            let (one, other) = (node_of_host(host).unwrap(), node_of_host(host).unwrap());
            assert!(one.as_str().starts_with(begins), "{one}");
            assert_ne!(one, other);
        }
        node_of_host(&"x".repeat(300)).unwrap();
    }

    #[test]
    fn two_lives_of_a_node_have_two_names_in_leases() {
        let node = NodeId::parse("a").unwrap();
        assert_ne!(holder(&node), holder(&node));
    }
}
