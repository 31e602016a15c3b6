//! Sources that change, tasks that are cancelled and workers that are killed, each at a known moment of a transfer: the
//! source itself records the requests that it receives.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use wpclone_migrator::{Client as Migrator, Key};
use wpclone_task::{Code, Role, State, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, Version, until};

use crate::clone::checker::Pair;
use crate::clone::{PLUGIN, assert_nothing_left, at, cloned, failed, is_long_run, problem, start_visited};
use crate::random::Rng;
use crate::recording_source::{REQUEST_TIMEOUT, RecordingSource};

/// A table with this many rows of some 150 bytes, with even ids.
async fn add_table(site: &Site, name: &str, key: &str, rows: u32) -> Result {
    let sql = format!(
        "CREATE TABLE {name} (id BIGINT NOT NULL{key}, v VARCHAR(200) NOT NULL) ENGINE=InnoDB; \
         INSERT INTO {name} SELECT 2 * seq, REPEAT(MD5(seq), 4) FROM seq_1_to_{rows};"
    );
    site.sql(&sql).await.map(drop)
}

/// Each time a second part of a table is requested, rows of the first part change: some updated, some deleted, one
/// inserted. The second time, the result is the same.
const CHANGE_ROWS: &str = "global $wpdb; if ('rows' === $kind && 0 < $from && 0 === strpos($what, 'wp_lab_')) { \
    $wpdb->query(\"UPDATE $what SET v = 'changed' WHERE id IN (2, 4, 6)\"); \
    $wpdb->query(\"DELETE FROM $what WHERE id BETWEEN 8 AND 100\"); \
    $wpdb->query(\"INSERT INTO $what SELECT 101, 'came' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM $what WHERE id = 101)\"); }";

#[tokio::test]
async fn tables_whose_rows_change_while_they_are_read_are_read_again() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    let tables = [("wp_lab_keyed", " PRIMARY KEY"), ("wp_lab_plain", "")];
    for (name, key) in tables {
        add_table(&site, name, key, 15_000).await?;
    }
    let source = RecordingSource::to(&site, CHANGE_ROWS)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    pair.assert_equal().await?;
    for (name, _) in tables {
        let begun = source.request_offsets("rows", name).iter().filter(|from| **from == 0).count();
        let entry = table(&pair.fidelity, name);
        assert_eq!((&entry["rereads"], &entry["consistent"]), (&json!(1), &json!(true)), "{entry:#}");
        assert!(begun >= 2, "{name} was begun {begun} times");
        let rows =
            site.sql(&format!("SELECT COUNT(*), SUM(v = 'changed'), SUM(v = 'came') FROM {name}")).await?;
        assert_eq!((rows.trim(), &entry["target_rows"]), ("14954\t3\t1", &json!(14_954)));
    }
    assert_eq!(table(&pair.fidelity, "wp_posts")["rereads"], Value::Null);
    Ok(())
}

/// The report's entry of a table.
fn table<'a>(fidelity: &'a Value, name: &str) -> &'a Value {
    let tables = fidelity["tables"].as_array().unwrap();
    tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("{name} in {fidelity:#}"))
}

const UPLOADS: &str = "wp-content/uploads";
/// The number of small files that change.
const SMALL: usize = 30;

/// A large file is replaced when its first part has been sent, small ones after they were listed. Each is replaced once,
/// and `twice.txt` twice.
const CHANGE_FILES: &str = "if ('file' !== $kind) { return; } $file = WP_CONTENT_DIR . '/uploads/' . $what; \
    $begins = fn (string $text) => is_file($file) && $text === file_get_contents($file, false, null, 0, strlen($text)); \
    if ($from > 0 && 'grows.bin' === $what && $begins('old')) { file_put_contents($file, str_repeat('new, and longer ', 300000)); } \
    if ($from > 0 && 'shrinks.bin' === $what && $begins('old')) { file_put_contents($file, str_repeat('new ', 1000)); } \
    if (0 === $from && 0 === strpos($what, 'small-') && $begins('old')) { file_put_contents($file, 'new ' . $what); } \
    if (0 === $from && 'same-length.txt' === $what && $begins('old')) { file_put_contents($file, 'new'); } \
    if (0 === $from && 'twice.txt' === $what) { if ($begins('older')) { file_put_contents($file, 'new'); } \
        elseif ($begins('old')) { file_put_contents($file, 'older'); } }";

#[tokio::test]
async fn files_that_change_while_they_are_copied_are_fetched_again() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    let small = (0..SMALL).map(|n| format!("small-{n}.txt"));
    let (part, whole) = ("old ".repeat(1 << 20), "old ".repeat(1 << 18));
    let large =
        [("shrinks.bin", part.as_str()), ("grows.bin", &whole)].map(|(name, text)| (name.to_owned(), text));
    let others = small.chain(["same-length.txt", "twice.txt"].map(str::to_owned)).map(|name| (name, "old"));
    let files: Vec<_> = large.into_iter().chain(others).collect();
    for (name, text) in &files {
        let path = format!("{UPLOADS}/{name}");
        site.put(&path, text)?;
        // Well before the change, because modification times have whole seconds.
        let file = fs::File::options().write(true).open(site.tree().join(path))?;
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))?;
    }
    let source = RecordingSource::to(&site, CHANGE_FILES)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    for (name, old) in &files {
        let begun = source.request_offsets("file", name).iter().filter(|from| **from == 0).count();
        let now = fs::read(site.tree().join(UPLOADS).join(name))?;
        assert!(now.starts_with(b"new") && now != old.as_bytes(), "{name} has not changed");
        assert!(begun >= if name == "twice.txt" { 3 } else { 2 }, "{name} was begun {begun} times");
    }
    let pair = Pair::of(&site, &app, &client, &task).await?;
    assert_eq!(
        pair.fidelity["files"]["omitted"]["changed-during-read"],
        Value::Null,
        "{:#}",
        pair.fidelity["files"]
    );
    pair.assert_equal().await
}

/// The request at which a clone is cancelled, and its offset: before the migrator is installed, at the first rows,
/// in the middle of a table and of a file, when a table is counted, when the migrator is removed beside the verification.
const MOMENTS: [(&str, &str, u64); 6] = [
    ("page", "POST update.php upload-plugin", 0),
    ("rows", "wp_lab_large", 0),
    ("rows", "wp_lab_large", 5000),
    ("file", "large.bin", 1 << 20),
    ("checksum", "wp_lab_large", 0),
    ("remove", "POST index.php ", 0),
];

/// How many of them are tried, chosen at random, unless it is a long run.
const TRIED_MOMENTS: usize = 2;

#[tokio::test]
async fn a_clone_that_is_cancelled_at_any_moment_leaves_nothing() -> Result {
    let mut rng = Rng::new();
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    add_table(&site, "wp_lab_large", " PRIMARY KEY", 15_000).await?;
    site.put(&format!("{UPLOADS}/large.bin"), &"large ".repeat(1 << 20))?;
    let source = RecordingSource::to(&site, "")?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let mut moments = MOMENTS.to_vec();
    let tried = if is_long_run() { MOMENTS.len() } else { TRIED_MOMENTS };
    for _ in 0..tried {
        let (kind, what, from) = rng.take(&mut moments);
        eprintln!("cancelled at {kind} {what} {from}");
        source.hold(kind, what, from)?;
        let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
        source.wait_until_held(&app).await?;
        let answer = client.post(&format!("/tasks/{}/cancel", task.id), &Value::Null).await?;
        assert_eq!(answer.status(), 202);
        source.release()?;
        let task = client.wait(task.id).await?;
        assert_eq!(task.state, State::Cancelled, "{task:#?}");
        for step in ["discard", "rollback"] {
            let step = task.steps.iter().find(|one| one.name == step).unwrap();
            assert_eq!(step.state, State::Succeeded, "{kind} {what} {from}: {task:#?}");
        }
        assert_nothing_left(&app, &client).await?;
        source.wait_until_done().await?;
        // What the site is still unpacking cannot be removed yet: the task says so, and it is removed later.
        let is_left = what.ends_with("upload-plugin")
            && task.progress.message.contains("is removed as soon as it can be reached");
        let told = &task.result.as_ref().unwrap()["migrator"]["source"];
        assert_eq!(told.as_str(), (!is_left).then_some("removed"), "{task:#?}");
        let is_gone = async || !site.tree().join(PLUGIN).exists();
        assert!(is_left || is_gone().await, "{kind} {what} {from}");
        until("the migrator to be removed", Duration::from_secs(300), None, is_gone).await?;
    }
    Ok(())
}

/// Sets a site up as a source; returns a client with the key of that setup.
async fn migrator_of_setup(client: &Client, site: &Site) -> Result<Migrator> {
    let setup = client.setup(site, &site.admin(), Role::Source).await?;
    let setup = client.wait(setup.id).await?;
    let key: Key = at(&setup, "/api_key").as_str().unwrap().parse().unwrap();
    Ok(Migrator::new(reqwest::Client::new(), site.url().parse().unwrap(), key))
}

/// While there is such a file, rows are refused at both of the migrator's addresses.
const REFUSE_ROWS: &str = "if (is_file(WP_CONTENT_DIR . '/refuse') && ('rows' === $kind \
    || '/wpclone-migrator/v1/rows' === substr($what, -25))) { \
    file_put_contents(WP_CONTENT_DIR . '/refused', \"$kind $what\\n\", FILE_APPEND); http_response_code(404); exit('no'); }";

#[tokio::test]
async fn a_clone_that_is_cancelled_or_fails_keeps_the_migrator_of_an_earlier_setup() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    add_table(&site, "wp_lab_large", " PRIMARY KEY", 500).await?;
    let source = RecordingSource::to(&site, REFUSE_ROWS)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let migrator = migrator_of_setup(&client, &site).await?;

    source.hold("rows", "wp_lab_large", 0)?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    source.wait_until_held(&app).await?;
    assert_eq!(client.post(&format!("/tasks/{}/cancel", task.id), &Value::Null).await?.status(), 202);
    source.release()?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Cancelled, "{task:#?}");
    assert_eq!(task.result.as_ref().unwrap()["migrator"]["source"], "kept", "{task:#?}");
    assert!(!migrator.status().await.unwrap().import_enabled, "its key still opens it");
    assert_nothing_left(&app, &client).await?;

    site.put("wp-content/refuse", "")?;
    let task = failed(&client, &site).await?;
    assert_eq!(problem(&task).code, Code::TransferFailed, "{task:#?}");
    let refused = fs::read_to_string(site.tree().join("wp-content/refused")).unwrap();
    assert!(refused.contains("rows ") && refused.contains("/v1/rows"), "both addresses: {refused}");
    assert_eq!(task.result.as_ref().unwrap()["migrator"]["source"], "kept", "{task:#?}");
    assert!(!migrator.status().await.unwrap().import_enabled, "its key still opens it");
    assert_nothing_left(&app, &client).await
}

/// Rows of the table, and how many have been read when the worker is killed.
const ROWS: u64 = 40_000;
const READ: u64 = 25_000;
/// A request for a part of a file from here on means that everything before the file has arrived: a part of at
/// most three MiB is in flight while the next one is requested.
const ARRIVED: u64 = 9 << 20;
/// Deletes a file at the first request for rows.
const DELETE_HUGE_FILE: &str = "if ('rows' === $kind) { @unlink(WP_CONTENT_DIR . '/uploads/huge.bin'); }";

#[tokio::test]
async fn a_new_worker_resumes_within_a_table_without_resending_files() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    add_table(&site, "wp_lab_large", " PRIMARY KEY", ROWS as u32).await?;
    // Two tables are transferred at a time, by name: this one is complete by then.
    add_table(&site, "wp_lab_before", " PRIMARY KEY", 100).await?;
    for (name, times) in [("early.bin", 1 << 16), ("gone.bin", 1 << 16), ("z-last.bin", 5 << 18)] {
        site.put(&format!("{UPLOADS}/{name}"), &name.repeat(times))?;
    }
    let source = RecordingSource::to(&site, DELETE_HUGE_FILE)?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    source.hold("rows", "wp_lab_large", READ)?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    source.wait_until_held(&app).await?;
    let read = source.request_offsets("held", "wp_lab_large")[0];
    // The rows read before have been sent to the clone.
    client.wait_until(task.id, "rows to be moved", |task| moved(task) >= read).await?;
    let last = async || source.request_offsets("file", "z-last.bin").iter().any(|from| *from >= ARRIVED);
    until("a later part of the last file to be requested", REQUEST_TIMEOUT, None, last).await?;
    app.workers[0].kill9().await?;
    fs::remove_file(site.tree().join(UPLOADS).join("gone.bin"))?;
    // Larger than any disk; but as part of the content has arrived, the space needed is unknown.
    fs::File::create(site.tree().join(UPLOADS).join("huge.bin"))?.set_len(1 << 42)?;
    source.release()?;
    let before = source.request_offsets("rows", "wp_lab_large").len();
    let recorded = source.requests().len();
    app.add_worker(&[]).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let again = source.request_offsets("rows", "wp_lab_large").split_off(before);
    let from = *again.iter().min().expect("the table was read to its end");
    assert!(from > ROWS / 5 && from <= read, "of {ROWS} rows {read} had been read; then it began at {from}");
    let pair = Pair::of(&site, &app, &client, &task).await?;
    let entry = table(&pair.fidelity, "wp_lab_large");
    assert_eq!((&entry["source_rows"], &entry["rereads"]), (&json!(ROWS), &Value::Null), "{entry:#}");
    assert!(entry["resumed_rows"].as_u64().unwrap() >= from, "{entry:#}");
    assert_eq!(table(&pair.fidelity, "wp_lab_before")["resumed_rows"], 100, "a whole table is counted only");
    assert_eq!(source.request_offsets("rows", "wp_lab_before"), [0], "and not read again");
    // Only what was in flight when the worker died is requested again.
    let all = &pair.fidelity["files"];
    let again = source.requests().split_off(recorded).into_iter().filter(|request| request.kind == "file");
    let again: BTreeSet<_> = again.map(|file| file.what).collect();
    let (resumed, whole) = (all["resumed_files"].as_u64().unwrap(), all["files"].as_u64().unwrap());
    assert!(resumed > whole / 2, "{all:#}");
    assert!(again.len() as u64 <= whole - resumed, "{again:?}, {all:#}");
    let begun = source.request_offsets("file", "early.bin").into_iter().filter(|from| *from == 0).count();
    assert_eq!(begun, 1);
    pair.assert_equal().await
}

#[tokio::test]
async fn a_folder_that_becomes_a_file_between_two_attempts_is_a_file_in_the_clone() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    let uploads = site.tree().join(UPLOADS);
    for name in ["a-folder/in/it.txt", "b-file"] {
        site.put(&format!("{UPLOADS}/{name}"), name)?;
    }
    site.put(&format!("{UPLOADS}/c-large.bin"), &"large ".repeat(2 << 20))?;
    let source = RecordingSource::to(&site, "")?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    source.hold("file", "c-large.bin", ARRIVED)?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    source.wait_until_held(&app).await?;
    app.workers[0].kill9().await?;
    fs::remove_dir_all(uploads.join("a-folder"))?;
    fs::remove_file(uploads.join("b-file"))?;
    for name in ["a-folder", "b-file/in/it.txt"] {
        site.put(&format!("{UPLOADS}/{name}"), name)?;
    }
    source.release()?;
    app.add_worker(&[]).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Pair::of(&site, &app, &client, &task).await?.assert_equal().await
}

/// The number of rows that a task reports as transferred.
fn moved(task: &TaskView) -> u64 {
    let words = task.progress.message.strip_prefix("Moved ").unwrap_or_default();
    words.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
