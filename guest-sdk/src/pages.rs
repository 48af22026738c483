//! A list that comes in pages.

use crate::{Error, Request, Response, Result};

/// Requests page after page: `next` gets each answer and says which request is the next one, if any. The iterator
/// ends after the last page, and after the first error. A list is never cut silently: more than `pages_max` pages are
/// the error `too_many_pages`.
///
/// ```
/// use portcullis_guest::testing::{FakeGate, expect};
/// use portcullis_guest::{Method, Request, Result, pages};
///
/// fn all() -> Result<Vec<u32>> {
///     let first = Request::get("https://api.example.com/numbers").credential("default");
///     let mut numbers = Vec::new();
///     for page in pages(first, 20, |answer| {
///         Ok(answer.link("next").map(|url| Request::get(url).credential("default")))
///     }) {
///         numbers.extend(page?.json::<Vec<u32>>()?);
///     }
///     Ok(numbers)
/// }
///
/// let gate = FakeGate::new([
///     expect(Method::Get, "https://api.example.com/numbers")
///         .answer(200, "[1, 2]")
///         .with_header("link", "<https://api.example.com/numbers?page=2>; rel=\"next\""),
///     expect(Method::Get, "https://api.example.com/numbers?page=2").answer(200, "[3]"),
/// ]);
/// assert_eq!(gate.run(all).ok(), Some(vec![1, 2, 3]));
/// ```
pub fn pages<F>(first: Request, pages_max: u32, next: F) -> Pages<F>
where
    F: FnMut(&Response) -> Result<Option<Request>>,
{
    Pages { request: Some(first), left: pages_max, next }
}

/// The answers of a list, page after page. Made by [`pages`]; statuses that are no success end it.
///
/// ```
/// # use portcullis_guest::{Request, pages};
/// let mut none = pages(Request::get("https://api.example.com/"), 0, |_| Ok(None));
/// assert_eq!(none.next().map(|page| page.unwrap_err().code().to_owned()), Some("too_many_pages".to_owned()));
/// ```
#[derive(Debug)]
pub struct Pages<F> {
    request: Option<Request>,
    left: u32,
    next: F,
}

impl<F: FnMut(&Response) -> Result<Option<Request>>> Iterator for Pages<F> {
    type Item = Result<Response>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.request.take()?;
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(Error::new("too_many_pages", "the list has more pages than this action reads")));
        };
        self.left = left;
        let page = request.send().and_then(Response::ok).and_then(|answer| {
            self.request = (self.next)(&answer)?;
            Ok(answer)
        });
        Some(page)
    }
}
