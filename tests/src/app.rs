//! Redis, the API and workers as one fixture.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::clones_state::ClonesState;
use crate::util::{at, base_folder, random, random_text, unique};
use crate::{Client, Fsync, Program, Redis, Result, Version};

const LOOPBACK: &str = "127.0.0.0/8,::1";
const WEBHOOK_SECRETS: &str = "WPCLONE_WEBHOOK_SECRETS";

/// A token of the API.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token's name.
    pub name: String,
    /// `user`, `operator` or `metrics`.
    pub scope: String,
    /// The token itself.
    pub secret: String,
    /// What may follow the scope in the tokens file: `:per_minute:concurrent`.
    pub limits: String,
}

/// The system under test: a Redis, an API and workers. Dropping it stops all of them.
#[derive(Debug)]
pub struct TestApp {
    /// The workers. First, so that they are dropped before what they need.
    pub workers: Vec<Program>,
    /// The API.
    pub api: Program,
    /// The queue's Redis.
    pub redis: Redis,
    tokens: Vec<Token>,
    env: Vec<(String, String)>,
    /// Last: the clones' state is removed after the workers have ended.
    clones: Option<ClonesState>,
}

/// Builds a [`TestApp`]. Defaults: one worker with two browser slots, an operator's token, and sites on
/// loopback allowed.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `start`"]
pub struct TestAppBuilder {
    workers: usize,
    tokens: Option<Vec<(String, String, String)>>,
    env: Vec<(String, String)>,
    callbacks: bool,
    stages: &'static str,
    /// The WordPress, and whether the state is prepared.
    clones: Option<(Version, bool)>,
    fsync: Fsync,
    ports: [Option<u16>; 3],
}

impl TestAppBuilder {
    /// The number of workers; may be 0.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Browser slots of each worker.
    pub fn slots(self, browser: u32) -> Self {
        self.env("WPCLONE_SLOTS_BROWSER", &browser.to_string())
    }

    /// Workers serve these stages instead of the browser's alone.
    pub fn stages(mut self, stages: &'static str) -> Self {
        self.stages = stages;
        self
    }

    /// Networks that sites may be in; empty for none.
    pub fn private_sites(self, networks: &str) -> Self {
        self.env("WPCLONE_ALLOW_PRIVATE_SITES", networks)
    }

    /// Enables clones: workers serve every stage and make clones from this WordPress. The state is removed with the app.
    /// It begins with what a provisioner makes at its first start, prepared once per process.
    pub fn clones(mut self, version: Version) -> Self {
        self.clones = Some((version, true));
        self
    }

    /// The same with an empty state folder: a first start.
    pub fn clones_from_scratch(mut self, version: Version) -> Self {
        self.clones = Some((version, false));
        self
    }

    /// Enables webhooks: a signing secret of its own, and receivers on loopback are allowed.
    pub fn callbacks(mut self) -> Self {
        self.callbacks = true;
        self.env("WPCLONE_ALLOW_PRIVATE_CALLBACKS", LOOPBACK)
    }

    /// Adds a token; `limits` is empty or `:per_minute:concurrent`.
    pub fn token(mut self, name: &str, scope: &str, limits: &str) -> Self {
        self.tokens.get_or_insert_default().push((name.into(), scope.into(), limits.into()));
        self
    }

    /// Configures no tokens.
    pub fn without_tokens(mut self) -> Self {
        self.tokens = None;
        self
    }

    /// Sets an environment variable of API and workers, replacing an earlier value.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// When Redis' writes are on disk.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// Ports of Redis, the API and the worker's health, instead of free ones.
    pub fn ports(mut self, redis: u16, api: u16, worker: u16) -> Self {
        self.ports = [redis, api, worker].map(Some);
        self
    }

    /// Starts it all and waits until it is ready.
    ///
    /// # Errors
    /// A program is missing or does not become ready.
    pub async fn start(self) -> Result<TestApp> {
        let [redis_port, api_port, worker_port] = self.ports;
        let redis = Redis::start_on(redis_port.map_or_else(crate::free_port, Ok)?, self.fsync).await?;
        let (tokens, mut env) = (self.make_tokens()?, self.env);
        env.push(("WPCLONE_REDIS_URL".into(), redis.url()));
        env.push(("WPCLONE_SEAL_KEYS".into(), format!("lab:{}", STANDARD.encode(random::<32>()?))));
        if self.callbacks {
            let secret = format!("whsec_{}", STANDARD.encode(random::<32>()?));
            env.push((WEBHOOK_SECRETS.into(), secret));
        }
        let state = match self.clones {
            None => {
                env.push(("WPCLONE_STAGES".into(), self.stages.into()));
                None
            }
            Some((version, prepared)) => Some(ClonesState::create(version, prepared, &mut env).await?),
        };
        if let Some(file) = tokens_file(&tokens).await? {
            env.push(("WPCLONE_TOKENS_FILE".into(), file));
        }
        let api = Program::api(api_port, env.clone()).await?;
        let mut app = TestApp { workers: Vec::new(), api, redis, tokens, env, clones: state };
        for number in 0..self.workers {
            let port = worker_port.filter(|_| number == 0);
            app.workers.push(Program::worker(port, app.env.clone()).await?);
        }
        Ok(app)
    }

    fn make_tokens(&self) -> Result<Vec<Token>> {
        let make = |(name, scope, limits): &(String, String, String)| {
            let (name, scope, limits) = (name.clone(), scope.clone(), limits.clone());
            Ok(Token { name, scope, limits, secret: format!("lab_{}", random_text()?) })
        };
        self.tokens.iter().flatten().map(make).collect()
    }
}

/// Writes a tokens file as `wpclone-api` reads it.
async fn tokens_file(tokens: &[Token]) -> Result<Option<String>> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let line = |t: &Token| {
        let hash = hex::encode(Sha256::digest(&t.secret));
        format!("{}:{hash}:{}{}\n", t.name, t.scope, t.limits)
    };
    let file = base_folder().await?.join(unique("tokens"));
    fs::write(&file, tokens.iter().map(line).collect::<String>()).map_err(at(&file))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(at(&file))?;
    Ok(Some(file.display().to_string()))
}

impl TestApp {
    /// Returns a builder.
    pub fn builder() -> TestAppBuilder {
        let app = TestAppBuilder {
            workers: 1,
            tokens: None,
            env: Vec::new(),
            callbacks: false,
            stages: "browser",
            clones: None,
            fsync: Fsync::Always,
            ports: [None; 3],
        };
        let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
        app.token("operator", "operator", "").slots(2).private_sites(LOOPBACK).env("RUST_LOG", &level)
    }

    /// Starts an app with the defaults.
    ///
    /// # Errors
    /// A program is missing or does not become ready.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A client with the first token, if there is any.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.api.url(), self.tokens.first().map(|t| t.secret.as_str()))
    }

    /// A client with the token of this name.
    ///
    /// # Errors
    /// There is no such token.
    pub fn client_as(&self, name: &str) -> Result<Client> {
        let help = "name it in the builder";
        let token = self.tokens.iter().find(|t| t.name == name);
        let token = token.ok_or(crate::LabError::Missing { what: format!("the token {name}"), help })?;
        Client::new(&self.api.url(), Some(&token.secret))
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The settings that API and workers have in common.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// Where the state of the clones lies.
    #[must_use]
    pub fn clones_state(&self) -> Option<&Path> {
        self.clones.as_ref().map(ClonesState::folder)
    }

    /// The secret that webhooks are signed with, if they are enabled.
    #[must_use]
    pub fn webhook_secret(&self) -> Option<&str> {
        self.env.iter().find(|(name, _)| name == WEBHOOK_SECRETS).map(|(_, secret)| secret.as_str())
    }

    /// Starts another worker; `more` overrides the common settings.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn add_worker(&mut self, more: &[(&str, &str)]) -> Result<&mut Program> {
        let last = self.workers.len();
        self.workers.push(Program::worker(None, self.env_with(more)).await?);
        Ok(&mut self.workers[last])
    }

    /// The same with another program, which becomes a worker.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn add_worker_program(
        &mut self,
        program: &Path,
        more: &[(&str, &str)],
    ) -> Result<&mut Program> {
        let last = self.workers.len();
        self.workers.push(Program::worker_program(program, self.env_with(more)).await?);
        Ok(&mut self.workers[last])
    }

    /// The common settings, with others in their place.
    fn env_with(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut env = self.env.clone();
        env.retain(|(n, _)| more.iter().all(|(m, _)| m != n));
        env.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        env
    }
}
