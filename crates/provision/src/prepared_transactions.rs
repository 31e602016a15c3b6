//! Transactions that were prepared (`XA PREPARE`). Nobody but the administrator ends those whose connections are gone: they
//! would keep their locks, and the undo logs of all users, for ever. Neither WordPress nor we use them.

use std::io;

use crate::database_client::{DATABASE_CALL_TIMEOUT, DatabaseClient};

/// The most of them that one call rolls back: a user can prepare more than a thousand in a second.
const MAX_OF_CALL: usize = 5_000;

impl DatabaseClient {
    /// Rolls back prepared transactions of all users, at most some thousand, and returns how many there were. Those of
    /// connections that still exist stay. It waits for the longest rollback, up to a minute.
    ///
    /// # Errors
    /// The server cannot be reached, or rolling back takes too long: it goes on nevertheless.
    pub async fn roll_back_prepared(&self) -> io::Result<usize> {
        let prepared = self.query("XA RECOVER").await?;
        let (sql, count) = rollbacks(&prepared);
        if count > 0 {
            // Each is tried: one of a connection that still exists is refused.
            self.call(&["--force"], sql.as_bytes(), DATABASE_CALL_TIMEOUT)
                .await
                .or_else(some_were_refused)?;
        }
        Ok(count)
    }
}

/// With `--force` the client ends with an error when any statement has failed.
fn some_were_refused(error: io::Error) -> io::Result<Vec<u8>> {
    if error.kind() == io::ErrorKind::Other { Ok(Vec::new()) } else { Err(error) }
}

/// The statements that roll back what the client printed for `XA RECOVER`, and their number. Lines that are not understood are
/// left out.
fn rollbacks(recovered: &[u8]) -> (String, usize) {
    let (mut sql, mut count) = (String::new(), 0);
    for statement in recovered.split(|byte| *byte == b'\n').filter_map(rollback).take(MAX_OF_CALL) {
        sql.push_str(&statement);
        count += 1;
    }
    (sql, count)
}

/// A name is what a user chose, so it is written in hex digits.
fn rollback(line: &[u8]) -> Option<String> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    let [format, global, branch, data] = columns.as_slice() else { return None };
    let (format, global, branch): (i64, usize, usize) = (number(format)?, number(global)?, number(branch)?);
    let mut data = unescape(data);
    (Some(data.len()) == global.checked_add(branch)).then_some(())?;
    let branch = data.split_off(global);
    Some(format!("XA ROLLBACK X'{}', X'{}', {format};\n", hex::encode(data), hex::encode(branch)))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Undoes the escapes of the client's `--batch`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut result) = (text.iter().copied(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        result.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_prepared_transactions_are_only_bytes() {
        let output = b"77\t20\t4\tev'; drop table x;--b\\n\\t\\\\\nnonsense\n1\t9\t9\tshort\n1\t18446744073709551615\t1\ta\n";
        let (global, branch) = (hex::encode("ev'; drop table x;--"), hex::encode("b\n\t\\"));
        assert_eq!(rollbacks(output), (format!("XA ROLLBACK X'{global}', X'{branch}', 77;\n"), 1));
    }

    #[test]
    fn one_call_rolls_back_a_bounded_number() {
        let output = b"1\t1\t0\ta\n".repeat(MAX_OF_CALL + 1);
        assert_eq!(rollbacks(&output).1, MAX_OF_CALL);
    }
}
