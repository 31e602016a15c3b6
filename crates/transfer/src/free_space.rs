//! The free space that a transfer needs on the target.

use wpclone_migrator::Definition;

/// Size of all tables, as estimated by the source's database.
pub(crate) fn size_of_tables(all: &[Definition]) -> u64 {
    let bytes = |definition: &Definition| match definition {
        Definition::Table(table) => table.estimated_bytes(),
        _ => 0,
    };
    all.iter().map(bytes).fold(0, u64::saturating_add)
}

/// The bytes needed on the target: twice the tables, for logs and index builds, and once the files, which are renamed into
/// place.
pub(crate) fn required_bytes(tables: u64, files: u64) -> u64 {
    tables.saturating_mul(2).saturating_add(files)
}

/// An error text if one of the disks has less than `need` bytes free. `None` in `free`: PHP does not report it.
pub(crate) fn space_shortage(need: u64, free: impl Iterator<Item = Option<u64>>) -> Option<String> {
    let have = free.flatten().min().filter(|have| *have < need)?;
    Some(format!("The source's content needs {need} bytes on the target's disk, and {have} are free."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_free_space_is_reported() {
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
