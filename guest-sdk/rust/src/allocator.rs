//! The global allocator of a step: a step lives for microseconds, so speed is all.
//!
//! Growing memory costs the host two system calls each time, so the first
//! [`ARENA_BYTES`] are part of the component's memory from the start, and growth
//! comes in big steps. Small blocks are never taken back, but for the newest;
//! freed large ones are used again, so that a step that works on pictures stays
//! within its limit. Refuses threads: a component has one.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// Memory that is there from the start.
const ARENA_BYTES: usize = 512 << 10;
/// Smallest growth: later ones are as large as all before.
const GROWTH_BYTES: usize = 1 << 20;
const PAGE: usize = 64 << 10;
/// From this size on freed blocks are remembered.
const LARGE_BYTES: usize = 16 << 10;
/// How many freed large blocks are remembered.
const FREE_MAX: usize = 32;

#[global_allocator]
static STEP_ALLOCATOR: Bump = Bump(UnsafeCell::new(State {
    next: 0,
    end: 0,
    grown: 0,
    free: [(0, 0); FREE_MAX],
}));

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

struct Bump(UnsafeCell<State>);

struct State {
    /// First free byte; 0 before the first allocation.
    next: usize,
    end: usize,
    grown: usize,
    /// Start and size of freed large blocks; size 0: an empty place.
    free: [(usize, usize); FREE_MAX],
}

// SAFETY: a component runs on one thread and is never re-entered while it allocates.
unsafe impl Sync for Bump {}
// SAFETY: as above; only the allocator touches it.
unsafe impl Sync for Arena {}

// SAFETY: blocks come from the arena or from fresh pages, are aligned as asked,
// and overlap no other block in use: `next` only passes over them, and a
// remembered block leaves the list when it is handed out.
unsafe impl GlobalAlloc for Bump {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, no re-entry.
        let state = unsafe { &mut *self.0.get() };
        if layout.size() >= LARGE_BYTES
            && let Some(start) = state.reuse(layout)
        {
            return start as *mut u8;
        }
        state.bump(layout)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one thread, no re-entry.
        let state = unsafe { &mut *self.0.get() };
        let start = block as usize;
        if start + layout.size() == state.next {
            state.next = start;
        } else if layout.size() >= LARGE_BYTES {
            state.remember(start, layout.size());
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: one thread, no re-entry.
        let state = unsafe { &mut *self.0.get() };
        let start = block as usize;
        let last = start + layout.size() == state.next;
        if size <= layout.size() || (last && state.end - start >= size) {
            if last {
                state.next = start + size;
            }
            return block;
        }
        // SAFETY: `size` is not zero and fits, as the caller of realloc promises.
        let fresh = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !fresh.is_null() {
            // SAFETY: both blocks are in use and apart; the old one is the shorter.
            unsafe {
                core::ptr::copy_nonoverlapping(block, fresh, layout.size());
                self.dealloc(block, layout);
            }
        }
        fresh
    }
}

impl State {
    #[inline]
    fn bump(&mut self, layout: Layout) -> *mut u8 {
        if self.next == 0 {
            self.next = ARENA.0.get() as usize;
            self.end = self.next + ARENA_BYTES;
        }
        loop {
            let start = (self.next + layout.align() - 1) & !(layout.align() - 1);
            match start.checked_add(layout.size()) {
                Some(after) if after <= self.end => {
                    self.next = after;
                    return start as *mut u8;
                }
                Some(_) if self.grow(layout) => {}
                _ => return null_mut(),
            }
        }
    }

    /// Makes room for `layout`; false when the host refuses.
    #[cold]
    fn grow(&mut self, layout: Layout) -> bool {
        let Some(needed) = layout.size().checked_add(layout.align()) else {
            return false;
        };
        // Doubling first; what is needed now if the limit is near.
        let wish = needed.max(GROWTH_BYTES).max(self.grown);
        for bytes in [wish, needed] {
            let pages = bytes.div_ceil(PAGE);
            let before = core::arch::wasm32::memory_grow(0, pages);
            if before != usize::MAX {
                let start = before * PAGE;
                if start != self.end {
                    // What is left of the arena lies apart from the new pages.
                    self.next = start;
                }
                self.end = start.wrapping_add(pages * PAGE);
                if self.end < start {
                    // The very last page: its last byte stays unused.
                    self.end = usize::MAX;
                }
                self.grown += pages * PAGE;
                return true;
            }
        }
        false
    }

    /// A remembered block that is large enough, and not much too large.
    fn reuse(&mut self, layout: Layout) -> Option<usize> {
        let fits = |&(start, size): &(usize, usize)| {
            size >= layout.size() && size / 2 <= layout.size() && start % layout.align() == 0
        };
        let place = self
            .free
            .iter_mut()
            .filter(|b| fits(b))
            .min_by_key(|b| b.1)?;
        let start = place.0;
        *place = (0, 0);
        Some(start)
    }

    /// Keeps a freed block; when all places are taken the smallest is forgotten.
    fn remember(&mut self, start: usize, size: usize) {
        if let Some(place) = self.free.iter_mut().min_by_key(|b| b.1)
            && place.1 < size
        {
            *place = (start, size);
        }
    }
}
