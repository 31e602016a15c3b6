//! Packs the plugin's zips, deflated and stored, and checks that the plugin has this crate's version.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use zip::CompressionMethod;

mod pack;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../migrator-plugin/wpclone-migrator");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build");

    let files = pack::files(&folder)?;
    let main =
        files.iter().find(|(name, _)| name == "wpclone-migrator.php").ok_or("the plugin has no main file")?;
    let header = String::from_utf8_lossy(&main.1);
    let plugin = header.lines().find_map(|line| line.trim_start_matches([' ', '*']).strip_prefix("Version:"));
    let (plugin, own) = (plugin.map(str::trim).unwrap_or_default(), env::var("CARGO_PKG_VERSION")?);
    if plugin != own {
        return Err(format!("the plugin's header says version {plugin:?}, this crate is {own:?}").into());
    }

    let out = env::var("OUT_DIR")?;
    for (name, method) in
        [("deflated.zip", CompressionMethod::Deflated), ("stored.zip", CompressionMethod::Stored)]
    {
        fs::write(Path::new(&out).join(name), pack::zip("wpclone-migrator", &files, method)?)?;
    }
    Ok(())
}
