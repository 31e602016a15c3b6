//! The connections of a database server.

use std::time::Duration;

/// The statements whose rows [`Sessions::parse`] reads. Only clones' connections are listed.
pub(crate) const QUERY: &str = "\
    SELECT 'session', ID, USER, COMMAND, TIME_MS, MEMORY_USED, TID FROM information_schema.PROCESSLIST \
    WHERE USER NOT IN ('root', 'system user', 'unauthenticated user'); \
    SELECT 'transaction', trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()), trx_rows_modified \
    FROM information_schema.INNODB_TRX";

/// The connections of clones, and what they do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    pub(crate) all: Vec<Session>,
}

/// A connection of a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: u64,
    /// The user, which has the clone's name.
    pub(crate) user: String,
    /// How long its statement runs; `None` when it runs none.
    pub(crate) statement: Option<Duration>,
    /// Bytes, as the server counts them: strings that a statement works with are not among them.
    pub(crate) memory: u64,
    /// The id of its thread, in the server's PID namespace.
    pub(crate) thread: u32,
    pub(crate) transaction: Option<Transaction>,
}

/// An open transaction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) age: Duration,
    pub(crate) rows_modified: u64,
}

impl Sessions {
    /// Reads what the client printed for [`QUERY`]. Lines that are not understood are left out.
    pub(crate) fn parse(output: &[u8]) -> Self {
        let mut sessions = Self::default();
        for line in output.split(|byte| *byte == b'\n') {
            let columns: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
            match columns.as_slice() {
                [b"session", session @ ..] => sessions.all.extend(Session::parse(session)),
                [b"transaction", id, age, rows] => {
                    let (id, transaction) = (number(id), Transaction::parse(age, rows));
                    if let Some(session) = sessions.all.iter_mut().find(|s| Some(s.id) == id) {
                        session.transaction = transaction;
                    }
                }
                _ => {}
            }
        }
        sessions
    }
}

impl Session {
    fn parse(columns: &[&[u8]]) -> Option<Self> {
        let [id, user, command, time, memory, thread] = columns else { return None };
        // Milliseconds with a fraction.
        let whole = time.split(|byte| *byte == b'.').next().unwrap_or_default();
        let running = Duration::from_millis(number(whole).unwrap_or_default());
        Some(Self {
            id: number(id)?,
            user: String::from_utf8_lossy(user).into_owned(),
            statement: (*command != b"Sleep").then_some(running),
            memory: number(memory).unwrap_or_default(),
            thread: number(thread).unwrap_or_default(),
            transaction: None,
        })
    }
}

impl Transaction {
    fn parse(age: &[u8], rows: &[u8]) -> Option<Self> {
        let rows_modified = number(rows).unwrap_or_default();
        Some(Self { age: Duration::from_secs(number(age).unwrap_or_default()), rows_modified })
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_transactions_are_read() {
        let output =
            b"session\t7\tclone-a\tQuery\t1234.567\t99\t11\nsession\t8\tclone-b\tSleep\t5.1\t1\t12\n\
            transaction\t8\t61\t5\ntransaction\t0\t9\t9\nnonsense\n";
        let sessions = Sessions::parse(output);
        let transaction = Transaction { age: Duration::from_secs(61), rows_modified: 5 };
        let first = Session {
            id: 7,
            user: "clone-a".into(),
            statement: Some(Duration::from_millis(1234)),
            memory: 99,
            thread: 11,
            transaction: None,
        };
        let user = "clone-b".into();
        let second =
            Session { id: 8, user, statement: None, memory: 1, thread: 12, transaction: Some(transaction) };
        assert_eq!(sessions.all, [first, second]);
    }
}
