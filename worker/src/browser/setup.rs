//! Sets a site up: installs the migrator, opens it and reads its key.

use tokio::time::timeout;
use wpclone_migrator::{Client, Key, VERSION};
use wpclone_task::{
    AnsweredPage, Code, ExposeSecret as _, Login, PluginStatus, PreparedSite, Problem, Role, SecretString,
    SetupResult, SiteFacts, SiteUrl,
};

use super::context::StepContext;
use super::install_record::InstallRecord;
use super::page_questions::{Asked, AskedSite, questions};
use super::source_aliases;
use super::wordpress::{self, PLUGINS_PAGE, StepError, StepResult, plugin_row};

impl StepContext<'_> {
    /// The whole of a setup. `record`: of a task that removes a migrator which it installed.
    pub(super) async fn set_up(
        &self,
        login: &Login,
        role: Role,
        record: Option<&InstallRecord<'_>>,
        site: &SiteUrl,
    ) -> StepResult<SetupResult> {
        let row = plugin_row("");
        let admin = self.log_in(site, login, PLUGINS_PAGE).await?;
        self.reporter.artifacts.screenshot(self.browser, "before.png", Some(&row)).await;
        let install = wordpress::install_migrator(&admin, record, self.reporter);
        let plugin_status = self.part("Installing the migrator", install).await?;
        self.reporter.progress(75, "Opening the migrator and reading its key");
        let open = wordpress::open_migrator(&admin, role, self.reporter);
        let key = self.part("Reading the key", open).await?;
        self.reporter.add_secret(&key);
        if let Some(record) = record.filter(|_| plugin_status == PluginStatus::Installed) {
            record.set_key(&key).await?;
        }
        self.reporter.progress(85, "Checking the migrator's key");
        let status = wordpress::migrator_status(&admin, &key, self.deadline);
        let status = self.part("Asking the migrator", status).await?;
        let imports = role == Role::Target;
        if status.plugin_version != VERSION || status.import_enabled != imports {
            let detail = "Another version of the migrator responds, or not the one that was set up: is a cache in between?";
            return Err(StepError::new(Code::MigratorUnreachable, detail).into());
        }
        self.reporter.progress(95, "The migrator accepts its key");
        self.final_screenshot(&site.at(PLUGINS_PAGE), &row).await;
        Ok(SetupResult {
            api_key: key,
            plugin_status,
            plugin_version: status.plugin_version,
            import_enabled: status.import_enabled,
        })
    }

    /// Sets a site of a clone up, and asks what it runs on.
    pub(super) async fn prepare(
        &self,
        login: &Login,
        remove_migrator: bool,
        record: &InstallRecord<'_>,
    ) -> StepResult<PreparedSite> {
        let site = record.site;
        let setup = self.set_up(login, record.role, Some(record), site).await?;
        let SetupResult { api_key, plugin_status, .. } = setup;
        match self.describe_site(record.role, site, &api_key).await {
            Ok(SiteDescription { facts, home, aliases, pages }) => {
                Ok(PreparedSite { site: site.clone(), plugin_status, facts, home, aliases, pages, api_key })
            }
            Err(error) => {
                // At once: the steps of the task that remove it would not know its key.
                if remove_migrator && plugin_status == PluginStatus::Installed {
                    self.remove_migrator(&api_key, record).await;
                }
                Err(error)
            }
        }
    }

    /// Removes the migrator. What is left stays registered.
    async fn remove_migrator(&self, key: &SecretString, record: &InstallRecord<'_>) {
        let Ok(key) = key.expose_secret().parse::<Key>() else { return };
        let client = Client::new(self.http.without_cookies().clone(), record.site.url().clone(), key);
        let removed = timeout(self.deadline, client.remove(None)).await;
        if matches!(removed, Ok(Ok(removed)) if removed.is_complete()) {
            record.set_removed().await;
        } else {
            tracing::warn!("parts of the migrator are left on the site");
        }
    }

    /// Asks the migrator what its site runs on, and a source the questions that its copy is asked later.
    async fn describe_site(
        &self,
        role: Role,
        site: &SiteUrl,
        key: &SecretString,
    ) -> StepResult<SiteDescription> {
        let key = key.expose_secret().parse::<Key>();
        let key =
            key.map_err(|_| StepError::new(Code::UnexpectedAnswer, "The migrator's key is malformed."))?;
        let client = Client::new(self.http.without_cookies().clone(), site.url().clone(), key.clone());
        let request = async {
            client.manifest().await.map_err(|error| {
                let detail = format!("The migrator does not report what the site runs on: {error}.");
                StepError::new(Code::MigratorUnreachable, detail).into()
            })
        };
        let manifest = self.part("Asking what the site runs on", request).await?;
        if manifest.wordpress.multisite {
            return Err(StepError::new(Code::MultisiteUnsupported, "The site is a network of sites.").into());
        }
        let home = SiteUrl::parse(&manifest.wordpress.home_url).ok().filter(|home| home != site);
        let (mut pages, mut aliases) = (Vec::new(), Vec::new());
        if role == Role::Source {
            self.reporter.progress(97, "Asking the site what its copy will be asked");
            // The session's own client reaches nothing but the site's address.
            let visitor = self.http.of_visitor().await.map_err(|error| {
                Problem::new(Code::WorkerFault, format!("Sites cannot be reached: {error}."))
            })?;
            let home = home.as_ref().unwrap_or(site);
            let asked = AskedSite { visitor: &visitor, logged_in: self.http, site, home };
            let asked = asked.ask_twice(questions(&manifest.sample_posts)).await;
            aliases = source_aliases::find(&visitor, (site, home), &manifest, &key, &asked).await;
            pages = asked.into_iter().map(Asked::of_source).collect();
        }
        let facts = SiteFacts {
            charset: manifest.wordpress.effective_charset().to_owned(),
            uploads: manifest.uploads_of_copy(),
            collation: manifest.wordpress.collation,
            constants: manifest.wordpress.constants.into_iter().collect(),
            wordpress: manifest.wordpress.version,
            php: manifest.php.version,
            prefix: manifest.wordpress.prefix,
            memory_limit: manifest.limits.memory_bytes,
            max_execution_time: manifest.limits.max_execution_s.into(),
            max_input_vars: manifest.limits.max_input_vars,
        };
        Ok(SiteDescription { facts, home, aliases, pages })
    }
}

/// What a site runs on, and how it answers.
struct SiteDescription {
    facts: SiteFacts,
    home: Option<SiteUrl>,
    aliases: Vec<String>,
    pages: Vec<AnsweredPage>,
}
