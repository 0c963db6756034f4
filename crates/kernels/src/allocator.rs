//! The allocator that suits these kernels: mimalloc, told to keep the pages it has.
//!
//! A training step allocates and frees the same large tensors again and again. By default mimalloc hands freed pages back
//! to the system after a while and faults them in again on the next step, which cost a tenth of the processor time of a
//! U-Net step where it was measured.

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`; the bindings do not name it.
const PURGE_DELAY: i32 = 15;

/// Keeps freed pages for the next step instead of returning them to the system. Call it once, when the program starts.
pub fn keep_pages() {
    // SAFETY: sets one integer option of the allocator; mimalloc documents options as settable at any time, and an
    // unknown option number is ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_purge_delay_is_the_option_we_think_it_is() {
        // SAFETY: reads one integer option.
        let read = || unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(read(), 1000, "version 3's default in milliseconds tells this option from its neighbours");
        super::keep_pages();
        assert_eq!(read(), -1);
    }
}
