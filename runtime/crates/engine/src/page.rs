//! Pages of lists: how many entries, after which, and whether there are more.

/// Selects entries of a list.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Maximum entries, 1 to 100.
    pub limit: usize,
    /// The entry after which the page begins; each list defines its cursor.
    pub after: Option<String>,
}

impl PageRequest {
    /// Entries to read: one more than the page has shows whether there is another page.
    pub(crate) const fn wanted(&self) -> usize {
        self.limit.saturating_add(1)
    }

    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The page of what was read with [`Self::wanted`] entries.
    pub(crate) fn page<T>(&self, mut entries: Vec<T>) -> Page<T> {
        let has_more = entries.len() > self.limit;
        entries.truncate(self.limit);
        Page { entries, has_more }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub entries: Vec<T>,
    /// Whether the list continues.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// The page with each entry converted.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { entries: self.entries.into_iter().map(change).collect(), has_more: self.has_more }
    }
}
