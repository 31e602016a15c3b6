//! Compares a clone with its source, table by table, file by file and page by page. It is independent of the code that
//! makes clones: it queries both databases, hashes both folders, and rewrites nothing.

mod database;
mod files;
mod pages;
mod roots;
mod tables;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wpclone_task::TaskView;
use wpclone_tests::{Client, Database, Result, Site, TestApp};

use crate::clone::at;

/// The source or the clone.
pub(crate) struct Side {
    pub(crate) database: Database,
    pub(crate) url: String,
    /// Its folders by their names in the report.
    pub(crate) roots: BTreeMap<&'static str, PathBuf>,
    /// A visitor, who follows no redirects.
    http: reqwest::Client,
}

impl Side {
    fn new(database: Database, url: String, tree: &Path, content: &str) -> Result<Self> {
        let content = tree.join(content);
        let roots = BTreeMap::from([
            ("Core", tree.to_owned()),
            ("Plugins", content.join("plugins")),
            ("MuPlugins", content.join("mu-plugins")),
            ("Uploads", content.join("uploads")),
            ("Content", content),
        ]);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Of a source with https.
            .danger_accept_invalid_certs(true)
            .build()?;
        Ok(Self { database, url, roots, http })
    }

    /// Where its content lies below WordPress.
    fn content(&self) -> String {
        self.roots["Content"].strip_prefix(&self.roots["Core"]).unwrap().display().to_string()
    }
}

/// A source and its clone.
pub(crate) struct Pair<'a> {
    pub(crate) source: Side,
    pub(crate) clone: Side,
    /// The task that made the clone.
    pub(crate) task: &'a TaskView,
    /// Its `fidelity.json`.
    pub(crate) fidelity: Value,
    pub(crate) prefix: &'a str,
    /// Whether a table of this name belongs to another installation and is not cloned.
    pub(crate) is_foreign_table: fn(&str) -> bool,
    /// All faults, reported at once.
    faults: RefCell<Vec<String>>,
}

impl<'a> Pair<'a> {
    /// A source with its content in `wp-content`, and a task's clone of it.
    pub(crate) async fn of(site: &Site, app: &TestApp, client: &Client, task: &'a TaskView) -> Result<Self> {
        Self::with(site, app, client, task, ("wp_", "wp-content")).await
    }

    /// The same with another table prefix and content folder.
    pub(crate) async fn with(
        site: &Site,
        app: &TestApp,
        client: &Client,
        task: &'a TaskView,
        (prefix, content): (&'a str, &str),
    ) -> Result<Self> {
        let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json");
        let report = report.unwrap_or_else(|| panic!("no report: {task:#?}"));
        let fidelity = client.get(&report.href).await?.json().await?;
        let name = at(task, "/clone/name").as_str().unwrap();
        let www = app.clones_state().unwrap().join("clones").join(name).join("www");
        let database = Database::of(&www.join("wp-config.php"))?;
        let url = at(task, "/clone/url").as_str().unwrap().trim_end_matches('/').to_owned();
        Ok(Self {
            source: Side::new(site.database(), site.url(), &site.tree(), content)?,
            clone: Side::new(database, url, &www.join(name), "wp-content")?,
            task,
            fidelity,
            prefix,
            is_foreign_table: |_| false,
            faults: RefCell::default(),
        })
    }

    /// The clone is a true copy: its tables, its files, its pages.
    pub(crate) async fn assert_equal(&self) -> Result {
        let begun = std::time::Instant::now();
        self.assert_same_tables().await?;
        let tables = begun.elapsed();
        self.assert_same_files();
        let files = begun.elapsed();
        self.assert_same_pages().await?;
        eprintln!(
            "compared tables in {tables:.1?}, files in {:.1?}, pages in {:.1?}",
            files - tables,
            begun.elapsed() - files
        );
        let faults = self.faults.borrow();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        Ok(())
    }

    fn fault(&self, what: impl Into<String>) {
        self.faults.borrow_mut().push(what.into());
    }

    fn equal<T: PartialEq + Debug>(&self, what: &str, source: &T, clone: &T) {
        if source != clone {
            self.fault(format!("{what}: {source:?}\n    and on the clone, or in the report: {clone:?}"));
        }
    }

    /// The report's counts of what was left out, by reason.
    fn left_out(value: &Value) -> BTreeMap<String, u64> {
        let all = value["omitted"].as_object().into_iter().flatten();
        all.map(|(why, count)| (why.clone(), count.as_u64().unwrap())).collect()
    }
}
