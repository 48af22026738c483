//! API tokens: `pc_<role>_<43 characters of base62><6 characters of CRC-32>`, 256 random bits.
//!
//! A token is shown once and kept only as its SHA-256. The checksum lets people and scanners tell a
//! token from a typo; authentication is the hash alone.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::hex;
use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use portcullis_store::{Role, TokenIndex, TokenRecord, Writes};

use crate::clock;
use crate::problem::Problem;
use portcullis_core::fault::Code;

/// Characters of 256 bits in base62.
const BODY_CHARS: usize = 43;
/// Characters of a CRC-32 in base62.
const CHECK_CHARS: usize = 6;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The role's word in a token and in JSON.
#[must_use]
pub const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Platform => "platform",
        Role::Org => "org",
        Role::Workspace => "workspace",
        Role::Run => "run",
    }
}

/// The role of that word.
#[must_use]
pub fn parse_role(word: &str) -> Option<Role> {
    [Role::Platform, Role::Org, Role::Workspace, Role::Run].into_iter().find(|r| role_word(*r) == word)
}

/// A new token's text.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate(role: Role) -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Problem::plain(Code::Internal))?;
    let body = base62(&bytes, BODY_CHARS);
    let text = format!("pc_{}_{body}", role_word(role));
    let check = base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECK_CHARS);
    Ok(format!("{text}{check}"))
}

/// Whether a text has the form of a token of some role, checksum included.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((role, tail)) = text.strip_prefix("pc_").and_then(|t| t.split_once('_')) else {
        return false;
    };
    let sized = tail.len() == BODY_CHARS + CHECK_CHARS && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    let Some((head, check)) = text.len().checked_sub(CHECK_CHARS).and_then(|at| text.split_at_checked(at))
    else {
        return false;
    };
    sized
        && parse_role(role).is_some()
        && base62(&crc32fast::hash(head.as_bytes()).to_be_bytes(), CHECK_CHARS) == check
}

/// What is stored in the place of a token, and of what else only its bearer may know.
#[must_use]
pub fn hash(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Big-endian bytes in base62, padded on the left.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut digits = vec![0_u8; width];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in digits.iter_mut().rev() {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 62).unwrap_or_default();
            carry = value / 62;
        }
    }
    digits.iter().map(|d| ALPHABET.get(usize::from(*d)).map_or('0', |c| char::from(*c))).collect()
}

/// Who a token is for.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// Role.
    pub role: Role,
    /// Org, for every role but `platform`.
    pub org: Option<OrgId>,
    /// Workspace, for `workspace`, and optionally for `run`.
    pub workspace: Option<WorkspaceId>,
    /// For people.
    pub label: Option<String>,
    /// RFC 3339.
    pub expires_at: Option<String>,
}

/// The records of a token, ready to be committed.
///
/// # Errors
/// Only when an id cannot be made.
pub fn record(text: &str, spec: TokenSpec) -> Result<(TokenRecord, Writes), Problem> {
    let record = TokenRecord {
        token_id: clock::fresh("tok", TokenId::parse)?,
        role: spec.role,
        org: spec.org,
        workspace: spec.workspace,
        label: spec.label,
        created_at: clock::now(),
        expires_at: spec.expires_at,
        hash: hash(text),
    };
    let index = TokenIndex { hash: record.hash.clone() };
    let writes =
        Writes::new().create(&[record.hash.as_str()], &record).create(&[record.token_id.as_str()], &index);
    Ok((record, writes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_a_typo_breaks_it() {
        let token = generate(Role::Platform).unwrap();
        assert!(token.starts_with("pc_platform_"), "{token}");
        assert!(is_well_formed(&token));
        let mut typo = token.clone();
        let last = typo.pop().unwrap();
        typo.push(if last == 'a' { 'b' } else { 'a' });
        assert!(!is_well_formed(&typo));
        for bad in ["", "pc_", "pc_root_x", "pc_platform_é", &token[..token.len() - 1]] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert_ne!(generate(Role::Run).unwrap(), generate(Role::Run).unwrap());
    }

    #[test]
    fn base62_is_positional() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[62], 2), "10");
        assert_eq!(base62(&[1, 0], 2), "48");
    }
}
