//! Locking what a panic cannot leave half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, also after a holder panicked: what our mutexes hold is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
