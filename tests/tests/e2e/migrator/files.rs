//! Export of files: every file that should be exported, and no other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use wpclone_migrator::{
    AdaptiveBatch, Client, ContentDigest, ContentHasher, Entry, EntryKind, FileRequest, FileStatus, Root,
};
use wpclone_tests::{Result, Site, Version};

/// Entries of a root.
pub(crate) async fn index(client: &Client, root: Root, digests: bool, pace: AdaptiveBatch) -> Vec<Entry> {
    let (mut all, mut stream) = (Vec::new(), client.index_stream(root, digests, None, pace));
    while let Some(index) = stream.next().await.unwrap_or_else(|e| panic!("{root:?}: {e}")) {
        assert!(index.cost.memory.above_baseline() < 8 << 20, "{:?}", index.cost);
        all.extend(index.entries);
    }
    all
}

fn wanted(root: Root, entry: &Entry) -> FileRequest {
    FileRequest { id: entry.id(root), offset: 0, size: entry.size, mtime: entry.mtime }
}

/// Fetches these files and returns their digests.
async fn fetch(
    client: &Client,
    mut wanted: Vec<FileRequest>,
    mut pace: AdaptiveBatch,
) -> Vec<(FileStatus, ContentDigest)> {
    let (mut done, mut hasher) = (Vec::new(), ContentHasher::default());
    while !wanted.is_empty() {
        let files = client.fetch_files(&wanted[..wanted.len().min(1000)], &mut pace).await.expect("files");
        assert!(files.cost.memory.above_baseline() < 8 << 20, "{:?}", files.cost);
        let parts = files.parts().expect("parts");
        for part in &parts {
            part.bytes.iter().for_each(|b| hasher.update(b));
            let goes_on = files.next.is_some_and(|(file, _)| file == part.index);
            if !goes_on || part.state != FileStatus::Ok {
                done.push((part.state, std::mem::take(&mut hasher).finish()));
            }
        }
        match files.next {
            Some((file, offset)) => {
                wanted.drain(..file);
                wanted[0].offset = offset;
            }
            None => drop(wanted.drain(..wanted.len().min(1000))),
        }
    }
    done
}

/// Regular files below a folder, links not followed: path → digest.
fn walk(folder: &Path, below: &Path, found: &mut BTreeMap<Vec<u8>, ContentDigest>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            walk(&entry.path(), below, found);
        } else if kind.is_file() {
            let mut hasher = ContentHasher::default();
            hasher.update(&fs::read(entry.path()).expect("a file"));
            let path = entry.path().strip_prefix(below).expect("below").as_os_str().as_bytes().to_vec();
            found.insert(path, hasher.finish());
        }
    }
}

/// Adds unusual files to a site; they belong to the test's user and are readable by PHP.
fn add_edge_case_files(site: &Site) -> Result {
    let content = site.tree().join("wp-content");
    let uploads = content.join("uploads");
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write(&uploads.join("2026/🚀 grüße.png"), b"rocket");
    write(&uploads.join(OsStr::from_bytes(b"2026/\xff\xfe latin1 \xfc.txt")), b"odd");
    write(&uploads.join("2026/new\nline & \"quotes' %s.txt"), b"");
    write(&uploads.join("2026/big.bin"), &(0..21_000_000_u32).map(|i| (i % 253) as u8).collect::<Vec<_>>());
    write(&uploads.join("2026/one-block.bin"), &vec![7; 8 << 20]);
    fs::create_dir_all(uploads.join("2026/empty"))?;
    fs::create_dir_all(uploads.join("many"))?;
    for i in 0..4200 {
        write(&uploads.join(format!("many/{i}")), i.to_string().as_bytes());
    }
    write(&uploads.join("2026/.htaccess"), b"deny from all");
    write(&uploads.join("2026/secret.txt"), b"unreadable");
    fs::set_permissions(uploads.join("2026/secret.txt"), fs::Permissions::from_mode(0o000))?;
    symlink(&uploads, uploads.join("2026/loop"))?;
    symlink("/etc/passwd", uploads.join("2026/out"))?;
    symlink(site.tree().join("wp-config.php"), uploads.join("2026/config"))?;
    symlink("nowhere", uploads.join("2026/broken"))?;
    symlink(uploads.join("2026/big.bin"), uploads.join("2026/inside"))?;
    for path in ["db.php", "debug.log", "cache/x.html", "updraft/b.zip", "dump.sql", "a.wpress"] {
        write(&content.join(path), b"<?php // stays");
    }
    for path in [
        "themes/t/.git/config",
        "mu-plugins/wpclone-sandbox.php",
        "themes/t/style.css",
        "themes/t/cache/c.php",
    ] {
        write(&content.join(path), b"<?php");
    }
    for path in ["backup.zip", ".user.ini", "wp-config.php.bak", ".htaccess", "robots.txt", "other/index.php"]
    {
        write(&site.tree().join(path), b"x");
    }
    Ok(())
}

#[tokio::test]
async fn every_file_is_exported_exactly_and_omissions_have_a_reason() -> Result {
    let site = crate::migrator::small(Version::Trixie).content(3).start().await?;
    add_edge_case_files(&site)?;
    let client = crate::migrator::open(&site, false).await?;
    let content = site.tree().join("wp-content");
    let folders = [
        (Root::Core, site.tree()),
        (Root::Content, content.clone()),
        (Root::Plugins, content.join("plugins")),
        (Root::MuPlugins, content.join("mu-plugins")),
        (Root::Uploads, content.join("uploads")),
    ];
    let mut left = BTreeMap::new();
    for (root, folder) in folders {
        let entries = index(&client, root, true, AdaptiveBatch::new(5000)).await;
        let again =
            index(&client, root, false, AdaptiveBatch::new(5000).capped_at(AdaptiveBatch::MIN_BYTES)).await;
        let paths = |all: &[Entry]| all.iter().map(|e| e.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&entries), paths(&again), "{root:?}: the same in pages of another size");
        let mut on_disk = BTreeMap::new();
        walk(&folder, &folder, &mut on_disk);
        let files: Vec<_> = entries.iter().filter(|e| e.kind == EntryKind::File).collect();
        for entry in &files {
            let name = String::from_utf8_lossy(&entry.path);
            match on_disk.remove(&entry.path) {
                Some(expected) => assert_eq!(entry.digest, Some(expected), "{root:?} {name}"),
                None => assert_eq!(name, "2026/inside"),
            }
        }
        // A part of WordPress' own files is enough.
        let step = if root == Root::Core { 10 } else { 1 };
        let files: Vec<_> = files.into_iter().step_by(step).collect();
        let fetched =
            fetch(&client, files.iter().map(|e| wanted(root, e)).collect(), AdaptiveBatch::new(5000)).await;
        assert_eq!(fetched.len(), files.len());
        for (entry, (state, digest)) in files.iter().zip(fetched) {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            assert_eq!((state, Some(digest)), (FileStatus::Ok, entry.digest), "{root:?} {name}");
        }
        for entry in &entries {
            if let EntryKind::Excluded(reason) = entry.kind {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                on_disk.retain(|p, _| !p.starts_with(&entry.path));
                left.insert(format!("{root:?} {path}"), char::from(reason));
            }
        }
        // Roots that are nested in this one are listed separately.
        let nested: &[&str] = match root {
            Root::Core => &["wp-content/"],
            Root::Content => &["plugins/", "mu-plugins/", "uploads/"],
            _ => &[],
        };
        on_disk.retain(|p, _| nested.iter().all(|n| !p.starts_with(n.as_bytes())));
        assert!(
            on_disk.is_empty(),
            "{root:?} misses {:?}",
            on_disk.keys().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>()
        );
    }
    let expected = [
        ("Content a.wpress", 'b'),
        ("Content cache", 'c'),
        ("Content db.php", 'i'),
        ("Content debug.log", 'l'),
        ("Content dump.sql", 'b'),
        ("Content themes/t/.git", 'v'),
        ("Content updraft", 'b'),
        ("Core .htaccess", 's'),
        ("Core .user.ini", 's'),
        ("Core backup.zip", 'b'),
        ("Core other", 'f'),
        ("Core wp-config.php", 's'),
        ("Core wp-config.php.bak", 's'),
        ("MuPlugins wpclone-sandbox.php", 'o'),
        ("Plugins wpclone-migrator", 'o'),
        ("Uploads 2026/broken", 'k'),
        ("Uploads 2026/config", 'k'),
        ("Uploads 2026/loop", 'k'),
        ("Uploads 2026/out", 'k'),
        ("Uploads 2026/secret.txt", 'u'),
    ];
    // Files that the lab's WordPress has in addition.
    left.retain(|path, _| path != "Content upgrade" && path != "Core t2");
    assert_eq!(left, expected.map(|(p, r)| (p.to_owned(), r)).into());
    assert_eq!(crate::migrator::complaints(&site), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_copied_is_detected() -> Result {
    let site = crate::migrator::small(Version::Bookworm).start().await?;
    let file = site.tree().join("wp-content/uploads/moving.bin");
    fs::create_dir_all(file.parent().unwrap())?;
    fs::write(&file, vec![1; 3_000_000])?;
    let client = crate::migrator::open(&site, false).await?;
    let entries = index(&client, Root::Uploads, false, AdaptiveBatch::new(5000)).await;
    let entry = entries.iter().find(|e| e.path == b"moving.bin").expect("the file");
    let mut wanted_file = wanted(Root::Uploads, entry);
    let mut pace = AdaptiveBatch::new(5000).capped_at(65536);
    let first = client.fetch_files(std::slice::from_ref(&wanted_file), &mut pace).await.expect("a part");
    let (_, offset) = first.next.expect("more of it");
    fs::write(&file, vec![2; 3_000_001])?;
    wanted_file.offset = offset;
    let second = client.fetch_files(std::slice::from_ref(&wanted_file), &mut pace).await.expect("an answer");
    assert_eq!(second.parts().unwrap()[0].state, FileStatus::Changed);
    fs::remove_file(&file)?;
    let third = client.fetch_files(std::slice::from_ref(&wanted_file), &mut pace).await.expect("an answer");
    assert_eq!(third.parts().unwrap()[0].state, FileStatus::Missing);
    Ok(())
}
