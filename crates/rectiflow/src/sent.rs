//! What somebody sent with a request: held for as long as it may be needed, and then no longer.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

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

/// A picture that samples are to look like, framed as the model reads it. One that was sent once is one, whoever holds it, and forgotten once for
/// all of them.
#[derive(Clone, Debug)]
pub struct Pictured(Arc<Sent<f32>>);

impl Pictured {
    /// Its numbers; none once it is forgotten.
    pub fn get(&self) -> Arc<Vec<f32>> {
        self.0.get()
    }

    /// Lets go of it.
    pub fn forget(&self) {
        self.0.forget();
    }
}

impl From<Vec<f32>> for Pictured {
    fn from(content: Vec<f32>) -> Self {
        Self(Arc::new(content.into()))
    }
}

impl PartialEq for Pictured {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Pictured {}

impl Hash for Pictured {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
