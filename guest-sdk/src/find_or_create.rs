//! Find a thing, or create it, also when somebody else creates it in between.

use crate::{Error, Result};

/// A thing, and whether this call created it.
///
/// ```
/// use portcullis_guest::Found;
///
/// let found = Found::Existing("c_1");
/// assert!(!found.is_new());
/// assert_eq!(found.into_inner(), "c_1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<T> {
    /// It was there.
    Existing(T),
    /// This call created it.
    Created(T),
}

impl<T> Found<T> {
    /// Whether this call created it.
    ///
    /// ```
    /// assert!(portcullis_guest::Found::Created(1).is_new());
    /// ```
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Created(_))
    }

    /// The thing.
    ///
    /// ```
    /// assert_eq!(portcullis_guest::Found::Created(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Existing(thing) | Self::Created(thing) => thing,
        }
    }
}

/// Finds a thing; if there is none, creates it; if creating conflicts (409), because another call was faster, finds
/// it once more. An API whose search is behind its writes can then still find nothing: that is the conflict's error.
///
/// ```
/// use portcullis_guest::{Error, Found, find_or_create};
///
/// let found = find_or_create(|| Ok(None), || Ok("c_2"));
/// assert_eq!(found.ok(), Some(Found::Created("c_2")));
/// let failed = find_or_create(|| Ok(None::<u8>), || Err(Error::from("no")));
/// assert_eq!(failed.unwrap_err().message(), "no");
/// ```
///
/// # Errors
/// The first error of either, other than the conflict.
pub fn find_or_create<T>(
    mut find: impl FnMut() -> Result<Option<T>>,
    create: impl FnOnce() -> Result<T>,
) -> Result<Found<T>> {
    if let Some(thing) = find()? {
        return Ok(Found::Existing(thing));
    }
    match create() {
        Ok(thing) => Ok(Found::Created(thing)),
        Err(error) if is_conflict(&error) => find()?.map(Found::Existing).ok_or(error),
        Err(error) => Err(error),
    }
}

fn is_conflict(error: &Error) -> bool {
    error.status() == Some(409)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;

    fn conflict() -> Error {
        let response = Response { status: 409, headers: Vec::new(), body: Vec::new(), redacted: false };
        response.ok().unwrap_err()
    }

    #[test]
    fn what_another_call_created_in_between_is_found() {
        let mut answers = [None, Some(7)].into_iter();
        let found = find_or_create(|| Ok(answers.next().unwrap()), || Err(conflict()));
        assert_eq!(found.ok(), Some(Found::Existing(7)));
    }

    #[test]
    fn a_conflict_with_something_that_cannot_be_found_stays_a_conflict() {
        let failed = find_or_create(|| Ok(None::<u8>), || Err(conflict()));
        assert_eq!(failed.unwrap_err().status(), Some(409));
    }
}
