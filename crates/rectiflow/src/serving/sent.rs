//! What somebody sent with a request: held for as long as it may be needed, and then no longer.

use std::sync::{Arc, Mutex, PoisonError};

/// Content that can be forgotten while others still know of it. A clone is not forgotten with it.
#[derive(Debug)]
pub struct Sent<T>(Mutex<Arc<Vec<T>>>);

impl<T> Sent<T> {
    /// What there is; nothing once it is forgotten.
    pub fn get(&self) -> Arc<Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of it.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }
}

impl<T> From<Vec<T>> for Sent<T> {
    fn from(content: Vec<T>) -> Self {
        Self(Mutex::new(Arc::new(content)))
    }
}

impl<T> Clone for Sent<T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.get()))
    }
}
