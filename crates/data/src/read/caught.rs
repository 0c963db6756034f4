//! Work of a crate that panics over damaged files, done so that the panic is an error like any other and nobody reads of it twice.

use crate::{DataError, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

thread_local! {
    static HUSHED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` on the file `path` gives. All it has changed is to be dropped where it fails.
pub(super) fn caught<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !HUSHED.get() {
                usual(info);
            }
        }));
    });
    let before = HUSHED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    HUSHED.set(before);
    done.unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let what = format!("damaged, its reader gave up ({})", said.unwrap_or("it does not say why"));
        Err(DataError::malformed(path, what, "download or copy it again"))
    })
}

#[cfg(test)]
mod tests {
    use super::caught;
    use std::path::Path;

    /// Mutants: the flag left on, so that later panics are silent; the message lost.
    #[test]
    fn a_panic_is_an_error_that_names_the_file_and_later_ones_are_heard() {
        let path = Path::new("a.parquet");
        for _ in 0..2 {
            let error = caught(path, || -> crate::Result<()> { panic!("at page {}", 3) }).unwrap_err().to_string();
            assert!(error.contains("a.parquet") && error.contains("at page 3"), "{error}");
            assert!(!super::HUSHED.get());
        }
        assert_eq!(caught(path, || Ok(2)).unwrap(), 2);
    }
}
