//! Whether a target has room for what will come.

use wpclone_migrator::Definition;

/// Bytes of all tables, as their database thinks.
pub(crate) fn size_of_tables(all: &[Definition]) -> u64 {
    let bytes = |definition: &Definition| match definition {
        Definition::Table(table) => table.estimated_bytes(),
        _ => 0,
    };
    all.iter().map(bytes).fold(0, u64::saturating_add)
}

/// Twice what the tables have, since loading them takes logs and indexes that are built; files once: they are stored where
/// they are moved from, not copied.
pub(crate) fn required_bytes(tables: u64, files: u64) -> u64 {
    tables.saturating_mul(2).saturating_add(files)
}

/// What is to be said when the disks of some folders have less room than is needed.
pub(crate) fn space_shortage(need: u64, free: impl Iterator<Item = Option<u64>>) -> Option<String> {
    let have = free.flatten().min().filter(|have| *have < need)?;
    Some(format!("The source's content needs {need} bytes on the target's disk, and {have} are free."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_does_not_fit_is_noticed_before_it_travels() {
        let need = required_bytes(10 << 20, 100 << 20);
        assert_eq!(need, 120 << 20);
        assert_eq!(space_shortage(need, [Some(need), None].into_iter()), None);
        assert_eq!(space_shortage(need, [None, None].into_iter()), None, "PHP may not know");
        let told = space_shortage(need, [Some(u64::MAX), Some(need - 1)].into_iter()).unwrap();
        assert!(told.contains("125829120 bytes") && told.contains("125829119 are free"), "{told}");
        assert!(
            space_shortage(required_bytes(u64::MAX, u64::MAX), [Some(1)].into_iter()).is_some(),
            "no overflow"
        );
    }
}
