//! What every bubblewrap sandbox needs of the machine.

use std::fs;
use std::path::Path;

/// The folders that Linux distributions have beside /usr, or as links into it.
const BESIDE_USR: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// The arguments of bubblewrap that show the machine's programs and libraries, for reading only.
#[must_use]
pub fn system_folder_args() -> Vec<String> {
    let mut args = ["--ro-bind", "/usr", "/usr"].map(str::to_owned).to_vec();
    for folder in BESIDE_USR {
        args.extend(match fs::read_link(folder) {
            Ok(target) => ["--symlink".to_owned(), target.display().to_string(), folder.to_owned()],
            Err(_) => ["--ro-bind-try", folder, folder].map(str::to_owned),
        });
    }
    args
}

/// Whether [`system_folder_args`] show a program.
#[must_use]
pub fn is_in_system_folder(program: &Path) -> bool {
    program.starts_with("/usr") || BESIDE_USR.iter().any(|folder| program.starts_with(folder))
}
