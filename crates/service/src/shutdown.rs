//! The end of a program.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the program at once (exit 130).
///
/// # Errors
/// The handlers could not be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        either(&mut term, &mut int).await;
        tracing::info!("asked to end; a second signal ends at once");
        cancel.cancel();
        either(&mut term, &mut int).await;
        std::process::exit(130);
    });
    Ok(token)
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! { _ = a.recv() => {} _ = b.recv() => {} }
}
