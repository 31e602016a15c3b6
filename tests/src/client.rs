//! A client of the API, and the HTTP client of the lab.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wpclone_task::{QueueView, Role, TaskId, TaskList, TaskView};

use crate::util::POLL_INTERVAL;
use crate::{LabError, Result, Site, User};

/// How long a task may take in a test before the test gives up on it.
const TASK_LIMIT: Duration = Duration::from_secs(900);
/// The longest pause between two polls of a task.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// An HTTP client that follows no redirects, keeps no cookies and takes any certificate.
pub(crate) fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .danger_accept_invalid_certs(true)
        .no_proxy()
        .timeout(Duration::from_secs(90))
        .build()?)
}

/// A client with a token, or without.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// A client of the API at this address.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(base: &str, token: Option<&str>) -> Result<Self> {
        Ok(Self { base: base.trim_end_matches('/').into(), token: token.map(str::to_owned), http: http()? })
    }

    /// A request of one's own, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.request(Method::GET, path).send().await?)
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        Ok(self.request(Method::POST, path).json(body).send().await?)
    }

    /// `POST /setup`, which has to be accepted.
    ///
    /// # Errors
    /// It is not.
    pub async fn setup(&self, site: &Site, user: &User, role: Role) -> Result<TaskView> {
        let mut body = site.login(user);
        body["role"] = json!(role);
        self.accepted("/setup", &body).await
    }

    /// `POST /create-app-password`, which has to be accepted.
    ///
    /// # Errors
    /// It is not.
    pub async fn app_password(&self, site: &Site, user: &User, app_name: &str) -> Result<TaskView> {
        let mut body = site.login(user);
        body["app_name"] = app_name.into();
        self.accepted("/create-app-password", &body).await
    }

    /// Posts a request that starts work, and requires 202.
    ///
    /// # Errors
    /// It is not.
    pub async fn accepted(&self, path: &str, body: &Value) -> Result<TaskView> {
        read(path, 202, self.post(path, body).await?).await
    }

    /// A task as it stands.
    ///
    /// # Errors
    /// It is not shown.
    pub async fn task(&self, id: TaskId) -> Result<TaskView> {
        self.shown(&format!("/tasks/{id}")).await
    }

    /// The first page of tasks.
    ///
    /// # Errors
    /// It is not shown.
    pub async fn tasks(&self) -> Result<TaskList> {
        self.shown("/tasks").await
    }

    /// The queue.
    ///
    /// # Errors
    /// It is not shown.
    pub async fn queue(&self) -> Result<QueueView> {
        self.shown("/queue").await
    }

    /// Sends a GET request and parses the JSON of a 200 response.
    ///
    /// # Errors
    /// It is not.
    pub async fn shown<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(path, 200, self.get(path).await?).await
    }

    /// The task when it has ended.
    ///
    /// # Errors
    /// It has not within a quarter of an hour.
    pub async fn wait(&self, id: TaskId) -> Result<TaskView> {
        self.wait_within(id, TASK_LIMIT).await
    }

    /// The same with another time limit. The end is seen at most 2 % late: polling all the time would take CPU from
    /// the task.
    ///
    /// # Errors
    /// It has not ended by then.
    pub async fn wait_within(&self, id: TaskId, limit: Duration) -> Result<TaskView> {
        self.poll(id, "its end", limit, LONGEST_PAUSE, |task| task.state.is_final()).await
    }

    /// Polls the task until `wanted` holds.
    ///
    /// # Errors
    /// The task ended without it, or it did not hold within a quarter of an hour.
    pub async fn wait_until(
        &self,
        id: TaskId,
        what: &str,
        wanted: impl Fn(&TaskView) -> bool,
    ) -> Result<TaskView> {
        self.poll(id, what, TASK_LIMIT, POLL_INTERVAL, wanted).await
    }

    async fn poll(
        &self,
        id: TaskId,
        what: &str,
        limit: Duration,
        longest_pause: Duration,
        wanted: impl Fn(&TaskView) -> bool,
    ) -> Result<TaskView> {
        let begun = Instant::now();
        loop {
            let task = self.task(id).await?;
            if wanted(&task) {
                return Ok(task);
            }
            if task.state.is_final() || begun.elapsed() >= limit {
                let log = serde_json::to_string(&task)?;
                return Err(LabError::Late { what: format!("{what} of task {id}"), limit, log });
            }
            sleep((begun.elapsed() / 50).clamp(POLL_INTERVAL, longest_pause)).await;
        }
    }
}

async fn read<T: DeserializeOwned>(what: &str, wanted: u16, response: Response) -> Result<T> {
    let status = response.status().as_u16();
    let body = response.text().await?;
    if status != wanted {
        return Err(LabError::Answer { what: what.into(), status, body });
    }
    Ok(serde_json::from_str(&body)?)
}
