//! What needs the machine itself: growing, recursion, marks in memory, text that is none.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const MARK: u64 = 0x5043_4352_5950_5441;
const CANARY_WORDS: usize = 8 * 1024;

static CANARY: [AtomicU64; CANARY_WORDS] = [const { AtomicU64::new(0) }; CANARY_WORDS];
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Whether nothing of an earlier call is there; leaves marks for the next.
pub(crate) fn is_clean() -> bool {
    let is_static_clean = CANARY.iter().all(|word| word.swap(MARK, Ordering::Relaxed) == 0);
    let is_counter_clean = CALLS.fetch_add(1, Ordering::Relaxed) == 0;
    is_static_clean && is_counter_clean && is_grown_clean()
}

/// Four new pages, looked at before they are written.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "memory that no allocator knows is looked at")]
fn is_grown_clean() -> bool {
    const PAGE_BYTES: usize = 65_536;
    let before = core::arch::wasm32::memory_grow::<0>(4);
    if before == usize::MAX {
        return true;
    }
    // SAFETY: these four pages were grown a moment ago, and nothing else uses them.
    let grown = unsafe { std::slice::from_raw_parts_mut((before * PAGE_BYTES) as *mut u8, 4 * PAGE_BYTES) };
    let is_clean = grown.iter().all(|byte| *byte == 0);
    black_box(grown).fill(0xa5);
    is_clean
}

#[cfg(not(target_family = "wasm"))]
fn is_grown_clean() -> bool {
    true
}

/// The pages that there were when growing was refused.
#[cfg(target_family = "wasm")]
pub(crate) fn grow_to_the_limit() -> usize {
    while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
    core::arch::wasm32::memory_size::<0>()
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn grow_to_the_limit() -> usize {
    0
}

/// Never returns: each level keeps 64 bytes that are used after the call.
#[allow(unconditional_recursion, reason = "that is the case")]
pub(crate) fn recurse(depth: u64) -> u64 {
    let kept = black_box([depth; 8]);
    let below = recurse(depth + 1);
    kept.iter().fold(below, |sum, word| sum.wrapping_add(*word))
}

/// The instruction `unreachable`.
pub(crate) fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

/// A text whose bytes are none.
#[allow(unsafe_code, reason = "a guest that breaks its own language's rules is the case")]
pub(crate) fn invalid_text() -> String {
    let bytes = b"{\"output\":\"\xff\xfe\xc0\x80\"}".to_vec();
    // SAFETY: it is not: the host has to find out.
    unsafe { String::from_utf8_unchecked(bytes) }
}
