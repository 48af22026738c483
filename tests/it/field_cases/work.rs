//! Work that a tenant, an upstream or a definition could cause without bound.
