//! Reading once more.

/// Reads, and reads once more when that failed: a connection that broke is noticed only when it is next used, and is
/// then made anew. Only for what may be done twice.
///
/// # Errors
/// The second one's.
pub(crate) async fn again<T, E, F>(mut read: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    match read().await {
        Ok(found) => Ok(found),
        Err(_) => read().await,
    }
}
