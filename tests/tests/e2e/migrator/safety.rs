//! Attacks on the migrator.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;
use wpclone_migrator::{
    AdaptiveBatch, Budget, EntryKind, FileRequest, FileStatus, JobOptions, OutgoingPart, PartKind, Request,
    Root,
};
use wpclone_tests::{Result, Version};

use crate::migrator::files::index;
use crate::migrator::sent;

const BUDGET: Budget = Budget { bytes: 65536, ms: 1000 };

/// All files and folders below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).flat_map(|path| [below(&path), vec![path]].concat()).collect()
}

/// Rule R1 (docs/TRANSFER.md).
#[tokio::test]
async fn staged_and_exported_content_is_not_served_over_http() -> Result {
    const CANARY: &str = "canary-of-somebodys-site";
    let site = crate::migrator::small(Version::Bookworm).content(1).start().await?;
    site.sql(&format!("INSERT INTO wp_options (option_name, option_value) VALUES ('a', '{CANARY}')")).await?;
    // The folder above the web root is not writable, so staged files lie where the web server can reach them.
    let tree = site.tree();
    let above = tree.parent().expect("a folder above");
    // Without root, PHP runs as the test's user.
    let closed = if chown(above, Some(0), Some(0)).is_ok() { 0o755 } else { 0o555 };
    std::fs::set_permissions(above, std::fs::Permissions::from_mode(closed))?;
    let key = crate::migrator::key(&site, true).await?;
    let client = crate::migrator::client(&site, key);
    client.rows("wp_options", None, BUDGET).await.expect("rows");
    let options =
        JobOptions { allow: Vec::new(), reversible: false, roots: vec![Root::Uploads], replace: false };
    let import = client.begin(&"5".repeat(32), &options).await.expect("a job");
    let mut parcel = import.file_batch();
    let part = OutgoingPart {
        root: Root::Uploads,
        path: b"a/secret.txt",
        kind: PartKind::Final,
        mode: 0o644,
        size: CANARY.len() as u64,
        mtime: 0,
        offset: 0,
    };
    parcel.part(&part, &[CANARY.as_bytes()]);
    import.store(parcel, &mut import.adaptive_batch()).await.expect("it is stored");
    let all = below(&tree);
    let waits = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes == CANARY.as_bytes());
    assert_eq!(all.iter().filter(|path| waits(path)).count(), 1, "it does not wait below the web");
    let ours = |path: &&PathBuf| path.strip_prefix(&tree).unwrap().to_string_lossy().contains("wpclone-");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut tried = 0;
    for path in all.iter().filter(ours).flat_map(|path| [path.clone(), path.join("")]) {
        let relative = path.strip_prefix(&tree).unwrap().to_str().expect("a plain name");
        let answer = http.get(format!("{}/{relative}", site.url())).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        assert!(!text.contains(CANARY), "{relative}: {status} {text}");
        let shown = relative.starts_with("wp-content/plugins/wpclone-migrator/");
        assert!(shown || matches!(status, 403 | 404), "{relative}: {status} {text}");
        assert!(!relative.ends_with(".php") || text.is_empty(), "{relative}: {status} {text}");
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    import.abort().await.expect("the end");
    assert_eq!(below(&tree).iter().filter(|path| waits(path)).count(), 0, "something is left");
    std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Rule R2 (docs/TRANSFER.md).
#[tokio::test]
async fn a_path_chosen_by_the_client_is_not_read() -> Result {
    let site = crate::migrator::small(Version::Bookworm).content(1).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    let entries = index(&client, Root::Uploads, false, AdaptiveBatch::new(5000)).await;
    let file = entries.iter().find(|e| e.kind == EntryKind::File).expect("a picture");
    let good = BASE64.decode(file.id(Root::Uploads)).unwrap();
    let tagged = |path: &[u8]| [&good[..17], path].concat();
    let mut forged = vec![
        Vec::new(),
        good[..17].to_vec(),
        tagged(b"../../wp-config.php"),
        tagged(b"/etc/passwd"),
        tagged(b"wp-config.php"),
        tagged(b"php://filter/resource=wp-config.php"),
        tagged(b"a\0.png"),
        [&[9], &good[1..]].concat(),
        [&[0], &good[1..]].concat(),
    ];
    // Every single-field change of a valid request.
    forged.extend((0..good.len()).map(|at| {
        let mut id = good.clone();
        id[at] ^= 1;
        id
    }));
    let wanted: Vec<_> =
        forged.iter().map(|id| FileRequest { id: BASE64.encode(id), offset: 0, size: 0, mtime: 0 }).collect();
    let (ids, bad): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|w| !w.id.is_empty());
    let files = client.files(&ids, BUDGET).await.expect("an answer");
    for part in files.parts().unwrap() {
        assert_eq!((part.state, part.bytes.len()), (FileStatus::Rejected, 0), "{}", ids[part.index].id);
    }
    assert_eq!(client.files(&bad, BUDGET).await.unwrap_err().code(), Some("bad_request"));
    Ok(())
}

/// Rule R2 (docs/TRANSFER.md).
#[tokio::test]
async fn a_symlink_created_after_the_index_is_not_followed() -> Result {
    let site = crate::migrator::small(Version::Bookworm).content(1).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    let entries = index(&client, Root::Uploads, false, AdaptiveBatch::new(5000)).await;
    let file = entries.iter().find(|e| e.kind == EntryKind::File).expect("a picture");
    let path = site.tree().join("wp-content/uploads").join(std::str::from_utf8(&file.path).unwrap());
    std::fs::remove_file(&path)?;
    for to in ["/etc/passwd".into(), site.tree().join("wp-config.php")] {
        std::os::unix::fs::symlink(&to, &path)?;
        let wanted =
            FileRequest { id: file.id(Root::Uploads), offset: 0, size: file.size, mtime: file.mtime };
        let files = client.files(&[wanted], BUDGET).await.expect("an answer");
        assert_eq!(files.parts().unwrap()[0].state, FileStatus::Rejected, "{to:?}");
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

/// Rule R8 (docs/TRANSFER.md).
#[tokio::test]
async fn names_and_cursors_never_become_sql() -> Result {
    let site = crate::migrator::small(Version::Bookworm).start().await?;
    let key = crate::migrator::key(&site, false).await?;
    let client = crate::migrator::client(&site, key.clone());
    let http = reqwest::Client::builder().no_proxy().build()?;
    for table in [
        "wp_posts` --",
        "wp_posts; DROP TABLE wp_posts",
        "mysql.user",
        "information_schema.TABLES",
        "x",
        "wp_wpclone_x",
        "",
    ] {
        let error = client.rows(table, None, BUDGET).await.expect_err(table);
        assert!(matches!(error.code(), Some("gone" | "bad_request")), "{table}: {error}");
    }
    let attacks = [
        json!({"k": ["1 OR 1=1"], "n": 1}),
        json!({"k": ["'"], "n": 1}),
        json!({"k": [BASE64.encode("1 OR 1=1")], "n": 1}),
        json!({"k": [BASE64.encode("1); DROP TABLE wp_posts; --")], "n": 1}),
        json!({"k": [BASE64.encode("\\")], "n": 1}),
        json!({"k": [BASE64.encode("1"), BASE64.encode("1")], "n": 1}),
        json!({"k": [1], "n": 1}),
        json!({"k": {"a": 1}, "n": 1}),
        json!({"n": "1; DROP TABLE wp_posts"}),
        json!({"n": -1}),
        json!({"k": [BASE64.encode("1")], "n": 1, "c": 4, "o": "x"}),
        json!({"k": [BASE64.encode("1")], "n": 1, "c": 9999, "o": 0}),
        json!([1]),
        json!("x"),
    ];
    for cursor in attacks {
        for route in ["rows", "checksum", "index", "definitions"] {
            let body = json!({"table": "wp_posts", "root": "uploads", "cursor": cursor}).to_string();
            let request = Request::new(route, body.as_bytes()).expect("random bytes");
            let url = format!("{}/?wpclone_migrator={route}&_={}", site.url(), request.unique);
            let headers = request.headers(&key);
            let answer = http.post(url).headers(headers).body(body.clone()).send().await?;
            assert!(
                matches!(answer.status().as_u16(), 200 | 400 | 409),
                "{route} {body}: {}",
                answer.status()
            );
            let bytes = answer.bytes().await?;
            let text = String::from_utf8_lossy(&bytes);
            for word in ["SQL", "syntax", "Warning", "Fatal", "Stack"] {
                assert!(!text.contains(word), "{route} {body}: {text}");
            }
        }
    }
    assert!(site.sql("SELECT COUNT(*) FROM wp_posts").await?.trim() != "0");
    assert_eq!(crate::migrator::complaints(&site), [""; 0]);
    Ok(())
}

/// PHP that prints the name of a lock of the migrator.
fn print_lock_name(what: &str) -> String {
    format!(
        "require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/site/class-database.php'; \
         echo \\Wpclone\\Migrator\\Database::lock_name('{what}');"
    )
}

/// Rule R13 (docs/TRANSFER.md).
#[tokio::test]
async fn more_than_four_concurrent_requests_are_told_to_retry() -> Result {
    let site = crate::migrator::small(Version::Bookworm).ini("memory_limit", "128M").start().await?;
    let client = crate::migrator::open(&site, false).await?;
    // Four connections occupy the request slots.
    let name = site.eval_php(&print_lock_name("slot")).await?;
    let held = format!(
        "$all = []; foreach (range(0, 3) as $i) {{ $all[$i] = new wpdb(DB_USER, DB_PASSWORD, DB_NAME, DB_HOST); \
         $all[$i]->query(\"SELECT GET_LOCK('{name}_$i', 0)\"); }} file_put_contents(ABSPATH . 'held', '1'); \
         for ($i = 0; $i < 6000 && file_exists(ABSPATH . 'held'); $i++) {{ usleep(20000); clearstatcache(); }}"
    );
    let holding = site.eval_php(&held);
    let requesting = async {
        let file = site.tree().join("held");
        let there = async || file.is_file();
        wpclone_tests::until("the slots to be taken", std::time::Duration::from_secs(120), None, there)
            .await?;
        let error = client.manifest().await.expect_err("a fifth request");
        assert_eq!(error.code(), Some("busy"));
        assert!(client.status().await.is_ok(), "its status is still reported");
        std::fs::remove_file(&file)?;
        Result::<()>::Ok(())
    };
    let (held, requested) = tokio::join!(holding, requesting);
    requested?;
    held?;
    assert!(client.manifest().await.is_ok(), "the slots are free again");
    Ok(())
}

/// Locks are shared by all users of a database server. What another user knows of a site (the names of its database and
/// tables) must not be enough to hold them.
#[tokio::test]
async fn locks_with_names_that_another_user_can_compute_do_not_stop_the_migrator() -> Result {
    let site = crate::migrator::small(Version::Bookworm).ini("memory_limit", "128M").start().await?;
    let client = crate::migrator::open(&site, false).await?;
    let facts = site.eval_php("echo DB_NAME, \"\\n\", $GLOBALS['wpdb']->prefix;").await?;
    let (database, prefix) = facts.split_once('\n').expect("two lines");
    let other = crate::migrator::small(Version::Bookworm).start().await?;
    let hold = format!(
        "$guesses = [hash('sha256', \"{database}\\0{prefix}\"), hash('sha256', '{database}{prefix}'), \
         hash_hmac('sha256', \"{database}\\0{prefix}\", ''), hash_hmac('sha256', \"{database}\\0{prefix}\", \"\\0\\0\\0\\0\"), \
         '{database}', '{database}_{prefix}']; \
         $db = new wpdb(DB_USER, DB_PASSWORD, DB_NAME, DB_HOST); \
         foreach ($guesses as $guess) foreach (['job', 'table_1', 'slot_0', 'slot_1', 'slot_2', 'slot_3'] as $what) \
         if ('1' !== $db->get_var(\"SELECT GET_LOCK('wpclone_\" . substr($guess, 0, 24) . \"_$what', 0)\")) {{ echo 'not held'; }} \
         file_put_contents(ABSPATH . 'held', '1'); \
         for ($i = 0; $i < 6000 && file_exists(ABSPATH . 'held'); $i++) {{ usleep(20000); clearstatcache(); }}"
    );
    let requesting = async {
        let file = other.tree().join("held");
        let there = async || file.is_file();
        wpclone_tests::until("the locks to be held", std::time::Duration::from_secs(120), None, there)
            .await?;
        let manifest = client.manifest().await;
        std::fs::remove_file(&file)?;
        assert!(manifest.is_ok(), "{:?}", manifest.err());
        Result::<()>::Ok(())
    };
    let (held, requested) = tokio::join!(other.eval_php(&hold), requesting);
    requested?;
    assert_eq!(held?, "", "all guessed names were held");
    Ok(())
}

/// Rule R15 (docs/TRANSFER.md).
#[tokio::test]
async fn salts_and_passwords_are_not_exported() -> Result {
    let site = crate::migrator::small(Version::Bookworm).start().await?;
    let key = crate::migrator::key(&site, false).await?;
    let request = Request::new("manifest", b"{}").expect("random bytes");
    let answer = sent(&site, &key, &request).await?.text().await?;
    assert!(answer.contains("max_allowed_packet"), "{answer}");
    let config = std::fs::read_to_string(site.tree().join("wp-config.php"))?;
    let secrets: Vec<_> = config
        .lines()
        .filter(|l| ["_KEY'", "_SALT'", "DB_PASSWORD"].iter().any(|w| l.contains(w)))
        .filter_map(|l| l.split('\'').nth(3))
        .collect();
    assert_eq!(secrets.len(), 9);
    for secret in secrets {
        assert!(!answer.contains(secret));
    }
    Ok(())
}

/// Rule R14 (docs/TRANSFER.md).
#[tokio::test]
async fn removal_leaves_nothing_of_the_migrator() -> Result {
    let site = crate::migrator::small(Version::Trixie).content(1).start().await?;
    let before = site
        .sql("SELECT option_name, option_value FROM wp_options WHERE option_name = 'active_plugins'")
        .await?;
    let key = crate::migrator::key(&site, true).await?;
    let client = crate::migrator::client(&site, key.clone());
    client.status().await.expect("it answers");
    let removed = client.remove(None).await.expect("it can");
    assert!(removed.is_complete() && removed.still_served == Some(false), "{removed:?}");
    assert!(!site.tree().join("wp-content/plugins/wpclone-migrator").exists());
    assert_eq!(site.sql("SELECT option_name FROM wp_options WHERE option_name LIKE '%wpclone%'").await?, "");
    assert_eq!(site.sql("SELECT 1 FROM wp_options WHERE option_value LIKE '%wpclone%'").await?, "");
    assert_eq!(site.sql("SHOW TABLES LIKE '%wpclone%'").await?, "");
    let after = site
        .sql("SELECT option_name, option_value FROM wp_options WHERE option_name = 'active_plugins'")
        .await?;
    assert_eq!(after, before);
    assert!(reqwest::get(site.url()).await?.status().is_success());
    assert_eq!(crate::migrator::complaints(&site), [""; 0]);
    Ok(())
}

/// Rule R14 (docs/TRANSFER.md).
#[tokio::test]
async fn removal_reports_what_it_may_not_delete() -> Result {
    let site = crate::migrator::small(Version::Bookworm).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    let plugin = site.tree().join("wp-content/plugins/wpclone-migrator");
    // A folder that PHP may not change.
    let kept = plugin.join("assets");
    std::os::unix::fs::chown(&kept, Some(0), Some(0))?;
    std::fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o555))?;
    let removed = client.remove(None).await.expect("an answer");
    assert_eq!(removed.remaining, ["files"]);
    assert!(!removed.is_complete() && !removed.still_responds, "{removed:?}");
    assert!(!plugin.join("wpclone-migrator.php").exists() && kept.exists());
    Ok(())
}
