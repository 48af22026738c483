//! Integration tests of Portcullis: one binary.
