//! The binary form of a sealed credential: lengths are checked first, the rest is slicing.
//!
//! It splits and joins bytes; it holds no key and opens nothing. Layout, numbers
//! big-endian: format 1, wrap 1, field 1, derive 1, key id 8, wrapped data key 72, commitment 32,
//! field count 2, then per field: name length 1, name, ciphertext length 4, ciphertext with tag.

use super::VaultError;
use super::associated::{ALGORITHM_DERIVE, ALGORITHM_FIELD, ALGORITHM_WRAP, FORMAT};
use super::wrap::WRAPPED_BYTES;

/// Longest sealed text: together with its setting it still fits one record of 64 KiB.
pub const SEALED_TEXT_BYTES_MAX: usize = 60 * 1024;

/// Longest sealed binary; base64 makes four characters of three bytes.
pub(super) const SEALED_BYTES_MAX: usize = SEALED_TEXT_BYTES_MAX / 4 * 3;

/// Maximum fields, including the reserved one.
pub(super) const FIELDS_MAX: usize = 65;

/// Longest field name in bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// The reserved first field. No credential field can have this name.
pub(super) const ALLOWED_HOSTS: &str = "@allowed_hosts";

const HEAD: [u8; 4] = [FORMAT, ALGORITHM_WRAP, ALGORITHM_FIELD, ALGORITHM_DERIVE];

/// The parts of a sealed credential.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) key_id: [u8; 8],
    pub(super) wrapped: &'a [u8],
    pub(super) commitment: [u8; 32],
    /// Names and ciphertexts, in order.
    pub(super) fields: Vec<(&'a str, &'a [u8])>,
}

impl Parts<'_> {
    /// Joins the parts. The code that made them has checked the lengths.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&HEAD);
        bytes.extend_from_slice(&self.key_id);
        bytes.extend_from_slice(self.wrapped);
        bytes.extend_from_slice(&self.commitment);
        let count = u16::try_from(self.fields.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for (name, ciphertext) in &self.fields {
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name.as_bytes());
            let length = u32::try_from(ciphertext.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(ciphertext);
        }
        bytes
    }
}

/// Splits bytes into parts, or returns why not. Accepts exactly what [`Parts::encode`] makes.
pub(super) fn decode(bytes: &[u8]) -> Result<Parts<'_>, VaultError> {
    if bytes.len() > SEALED_BYTES_MAX {
        return Err(VaultError::Malformed("it is too long"));
    }
    let mut rest = bytes;
    if *take_array::<4>(&mut rest)? != HEAD {
        return Err(VaultError::Malformed("its format is not known"));
    }
    let key_id = *take_array::<8>(&mut rest)?;
    let wrapped = take(&mut rest, WRAPPED_BYTES)?;
    let commitment = *take_array::<32>(&mut rest)?;
    let count = usize::from(u16::from_be_bytes(*take_array(&mut rest)?));
    if count == 0 || count > FIELDS_MAX {
        return Err(VaultError::Malformed("its field count is out of range"));
    }
    let mut fields: Vec<(&str, &[u8])> = Vec::with_capacity(count);
    for _ in 0..count {
        let name_bytes = usize::from(u8::from_be_bytes(*take_array(&mut rest)?));
        let name = std::str::from_utf8(take(&mut rest, name_bytes)?)
            .map_err(|_| VaultError::Malformed("a field name is not text"))?;
        let acceptable = if fields.is_empty() {
            name == ALLOWED_HOSTS
        } else {
            is_field_name(name) && fields.iter().all(|(other, _)| *other != name)
        };
        if !acceptable {
            return Err(VaultError::Malformed("a field name is not acceptable"));
        }
        let length = usize::try_from(u32::from_be_bytes(*take_array(&mut rest)?))
            .map_err(|_| VaultError::Malformed("a length is out of range"))?;
        fields.push((name, take(&mut rest, length)?));
    }
    if !rest.is_empty() {
        return Err(VaultError::Malformed("there are bytes after its end"));
    }
    Ok(Parts { key_id, wrapped, commitment, fields })
}

/// `^[A-Za-z0-9._-]{1,64}$`
pub(super) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], VaultError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(VaultError::Malformed("it ends too early"))?;
    *rest = after;
    Ok(taken)
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], VaultError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(VaultError::Malformed("it ends too early"))?;
    *rest = after;
    Ok(taken)
}
