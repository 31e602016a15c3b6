//! The numbers with which a copy goes on: ahead of the source's.

use wpclone_migrator::{Sequence, Table};

/// Added to `AUTO_INCREMENT`, so that rows created on the copy do not get ids that the original uses next.
const AUTO_INCREMENT_OFFSET: u64 = 10_000;

/// The new `AUTO_INCREMENT`: with the offset if the column's type has room for many more.
pub(crate) fn offset_auto_increment(table: &Table) -> Option<u64> {
    let next = table.auto_increment?;
    let counts = table.columns.iter().find(|column| column.auto_increment);
    let kind = counts.map(|column| column.kind.to_ascii_lowercase()).unwrap_or_default();
    let most: u64 = match kind.split(['(', ' ']).next() {
        Some("bigint") => i64::MAX.unsigned_abs(),
        Some("int" | "integer") => i32::MAX.unsigned_abs().into(),
        Some("mediumint") => 8_388_607,
        _ => 0,
    };
    Some(if next.saturating_mul(2).saturating_add(AUTO_INCREMENT_OFFSET) < most {
        next + AUTO_INCREMENT_OFFSET
    } else {
        next
    })
}

/// The next number of a sequence: with the offset of [`AUTO_INCREMENT_OFFSET`] numbers if it has room for many more.
pub(crate) fn offset_sequence(sequence: &Sequence) -> String {
    let number = |text: &str| text.parse::<i128>().ok();
    let offset = || {
        let (next, increment) = (number(&sequence.next)?, number(&sequence.increment)?);
        let (min, max) = (number(&sequence.min)?, number(&sequence.max)?);
        let step = increment.checked_mul(AUTO_INCREMENT_OFFSET.into())?;
        let far = next.checked_add(step.checked_mul(2)?)?;
        (!sequence.cycle && (min..=max).contains(&far)).then(|| (next + step).to_string())
    };
    offset().unwrap_or_else(|| sequence.next.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_continues_ahead_where_it_has_room() {
        let next = |next: &str, increment: &str, max: &str, cycle: bool| {
            let [next, increment, max] = [next, increment, max].map(str::to_owned);
            let (name, min, start, cache, round) =
                ("s".into(), "-900".into(), "1".into(), "0".into(), "0".into());
            offset_sequence(&Sequence { name, next, min, max, start, increment, cache, round, cycle })
        };
        assert_eq!(next("100", "10", "9223372036854775806", false), "100100");
        assert_eq!(next("9223372036854775807", "1", "9223372036854775806", false), "9223372036854775807");
        for (increment, max, cycle) in [
            ("1", "500", false),
            ("-1", "500", false),
            ("10", "9223372036854775806", true),
            ("x", "1", false),
        ] {
            assert_eq!(next("100", increment, max, cycle), "100");
        }
    }
}
