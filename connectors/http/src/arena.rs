//! The handler's allocator. An instance lives for one call: memory that is part of the module's initial memory is
//! allocated from one end and released only from that end. Nothing grows, so the host has no page to
//! map for a call; what does not fit is allocated by the system's allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use std::alloc::System;

/// The highest alignment that anything in a guest needs.
const ALIGN: usize = 16;

#[repr(C, align(16))]
struct Bytes<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

/// The memory of one call, `SIZE` bytes of it without growing.
// Why this order: the host cleans every page that was written, and the first blocks share one with `used`.
#[repr(C)]
pub(crate) struct Arena<const SIZE: usize> {
    used: Cell<usize>,
    bytes: Bytes<SIZE>,
}

// SAFETY: a guest has one thread; its world provides no second one. Where there are threads it is not installed, and
// its tests give each thread an arena of its own.
#[allow(unsafe_code, reason = "an allocator is unsafe by its interface")]
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

impl<const SIZE: usize> Arena<SIZE> {
    /// An empty arena.
    pub(crate) const fn new() -> Self {
        Self { used: Cell::new(0), bytes: Bytes(UnsafeCell::new([0; SIZE])) }
    }

    fn base(&self) -> *mut u8 {
        self.bytes.0.get().cast()
    }

    /// Where a block may start, if it fits.
    #[inline(always)]
    fn room(&self, layout: Layout) -> Option<usize> {
        // Why no check of the sums: both sizes are below half of the address space.
        let mask = layout.align().wrapping_sub(1);
        let start = self.used.get().wrapping_add(mask) & !mask;
        let end = start.wrapping_add(layout.size());
        (layout.align() <= ALIGN && end <= SIZE).then_some(start)
    }

    /// The offset of a block that this arena allocated.
    #[inline(always)]
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = (block as usize).checked_sub(self.base() as usize)?;
        (offset < SIZE).then_some(offset)
    }
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its interface")]
// SAFETY: a block lies in `bytes` beyond every block that is still in use, because `used` is only moved
// back over the last one; its start is a multiple of the alignment, because `bytes` is aligned to `ALIGN`
// and larger alignments are refused. Everything else is allocated by the system's allocator.
unsafe impl<const SIZE: usize> GlobalAlloc for Arena<SIZE> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.room(layout) {
            Some(start) => {
                self.used.set(start + layout.size());
                // SAFETY: `start` is inside `bytes`.
                unsafe { self.base().add(start) }
            }
            // SAFETY: the caller's promises are passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            // Only the last block can be released; the others are released with the instance.
            Some(offset) if offset + layout.size() == self.used.get() => self.used.set(offset),
            Some(_) => {}
            // SAFETY: what the arena did not allocate, the system did.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: what the arena did not allocate, the system did.
            return unsafe { System.realloc(block, layout, size) };
        };
        let is_last = offset + layout.size() == self.used.get();
        if is_last && offset.checked_add(size).is_some_and(|end| end <= SIZE) {
            self.used.set(offset + size);
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size` with this alignment is a layout.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least `layout.size()` long and, being two live blocks, do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size()) };
            // SAFETY: the old block was allocated with this layout.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "the allocator's interface")]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    #[test]
    fn blocks_are_apart_aligned_and_keep_what_they_hold() {
        let arena = Arena::<4096>::new();
        // SAFETY: every block is used within its layout and released once.
        unsafe {
            let odd = arena.alloc(layout(3, 1));
            let word = arena.alloc(layout(8, 8));
            assert_eq!(word as usize % 8, 0);
            assert!(word as usize >= odd as usize + 3);
            word.write_bytes(7, 8);
            let moved = arena.realloc(odd, layout(3, 1), 100);
            assert_ne!(moved, odd, "it was not the last one");
            let grown = arena.realloc(moved, layout(100, 1), 200);
            assert_eq!(grown, moved, "the last one grows where it is");
            assert_eq!(word.read(), 7);
            arena.dealloc(grown, layout(200, 1));
            assert_eq!(arena.alloc(layout(200, 1)), grown, "what was given back last comes next");
        }
    }

    #[test]
    fn what_does_not_fit_is_the_system_s() {
        let arena = Arena::<64>::new();
        // SAFETY: as above.
        unsafe {
            let inside = arena.alloc(layout(64, 1));
            assert_eq!(arena.offset(inside), Some(0));
            inside.write_bytes(9, 64);
            let outside = arena.realloc(inside, layout(64, 1), 128);
            assert_eq!(arena.offset(outside), None);
            assert_eq!(outside.add(63).read(), 9);
            let larger = arena.realloc(outside, layout(128, 1), 256);
            assert_eq!(larger.read(), 9);
            arena.dealloc(larger, layout(256, 1));
            let page = arena.alloc(layout(16, 4096));
            assert_eq!(page as usize % 4096, 0);
            arena.dealloc(page, layout(16, 4096));
        }
    }
}
