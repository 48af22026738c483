//! Secrets that come back in an answer, in whatever form.
