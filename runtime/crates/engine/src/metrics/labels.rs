//! Label sets: closed words, and ids of connectors. Never a workspace, an org or anything that a caller wrote.

use std::fmt;

use portcullis_core::id::ConnectorId;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};

/// The connector under which further connectors are counted.
pub(super) const OTHER: &str = "other";

/// One label whose value is a word of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word(pub(super) &'static str, pub(super) &'static str);

impl EncodeLabelSet for Word {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (self.0, self.1).encode(encoder.encode_label())
    }
}

/// The name of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OfNode(pub(super) String);

impl EncodeLabelSet for OfNode {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("node", self.0.as_str()).encode(encoder.encode_label())
    }
}

/// A check and the code with which it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    pub(super) check: &'static str,
    pub(super) code: &'static str,
}

impl EncodeLabelSet for Refusal {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("check", self.check).encode(encoder.encode_label())?;
        ("code", self.code).encode(encoder.encode_label())
    }
}

/// A kind of circuit breaker and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Breaking {
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
}

impl EncodeLabelSet for Breaking {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("kind", self.kind).encode(encoder.encode_label())?;
        ("state", self.state).encode(encoder.encode_label())
    }
}

/// How a run of a connector ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ended {
    /// `None`: one of the connectors that are counted together.
    pub(super) connector: Option<ConnectorId>,
    pub(super) outcome: &'static str,
    pub(super) code: &'static str,
}

impl EncodeLabelSet for Ended {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let connector = self.connector.as_ref().map_or(OTHER, ConnectorId::as_str);
        ("connector", connector).encode(encoder.encode_label())?;
        ("outcome", self.outcome).encode(encoder.encode_label())?;
        ("code", self.code).encode(encoder.encode_label())
    }
}
