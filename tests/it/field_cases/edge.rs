//! The HTTP edge, and streams whose token ends.
