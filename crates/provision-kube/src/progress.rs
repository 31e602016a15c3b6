//! What calls wait for.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;
use wpclone_provision::CloneName;

/// What the calls that work on clones wait for.
#[derive(Debug, Default)]
pub(crate) struct ProgressReports(Mutex<HashMap<CloneName, watch::Sender<String>>>);

impl ProgressReports {
    /// The reports of one clone.
    pub(crate) fn watch(&self, name: &CloneName) -> watch::Receiver<String> {
        let mut senders = self.0.lock();
        senders.retain(|_, sender| sender.receiver_count() > 0);
        senders.entry(name.clone()).or_default().subscribe()
    }

    /// Reports what is waited for.
    pub(crate) fn report(&self, name: &CloneName, message: &str) {
        if let Some(sender) = self.0.lock().get(name) {
            sender.send_if_modified(|current| {
                let is_new = current != message;
                if is_new {
                    message.clone_into(current);
                }
                is_new
            });
        }
    }
}
