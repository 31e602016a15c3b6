//! A real Redis for each test, and short words for what tests do with it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use tempfile::TempDir;
use wpclone_queue::{
    Claim, Enqueued, Found, Idempotency, Lease, NewTask, Queue, QueueOptions, StepOutput, TaskRecord,
};
use wpclone_task::{Code, Plan, Problem, SiteKey, SiteUrl, Stage, StepPlan, TaskId};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server of one test: gone, with its folder, when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one that writes to disk before it answers.
    pub(crate) async fn start() -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut redis = Self { child: spawn(port, &folder), port, folder };
            if redis.answers().await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// Waits until it answers; false when it ended, as it does when somebody else took the port.
    async fn answers(&mut self) -> bool {
        let since = Instant::now();
        let pid = format!("process_id:{}\r", self.child.id());
        while since.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut connection) = self.connect().await {
                let info = redis::cmd("INFO").query_async::<String>(&mut connection).await;
                if info.is_ok_and(|info| info.contains(&pid) && info.contains("\nloading:0\r")) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what it had written.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder);
        assert!(self.answers().await, "redis-server comes back");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// A queue with its defaults.
    pub(crate) fn queue(&self) -> Queue {
        self.queue_with(QueueOptions::default())
    }

    pub(crate) fn queue_with(&self, options: QueueOptions) -> Queue {
        Queue::new(&self.url(), options).unwrap()
    }

    /// Runs a command: `redis.ask("ZADD {wpclone}:x 1 y")`.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut self.connect().await.unwrap()).await.unwrap()
    }

    /// Makes a lease run out.
    pub(crate) async fn run_out(&self, claim: &Claim) {
        self.ask::<()>(&format!("ZADD {{wpclone}}:leases:{} XX 1 {}", claim.stage, member(&claim.lease)))
            .await;
    }

    /// Makes a delayed step due.
    pub(crate) async fn make_due(&self, claim: &Claim) {
        self.ask::<()>(&format!("ZADD {{wpclone}}:delayed:{} XX 1 {}", claim.stage, member(&claim.lease)))
            .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("these tests need redis-server on the PATH")
}

fn member(lease: &Lease) -> String {
    format!("{}:{}", lease.task, lease.step)
}

/// A /setup task on a site of this name.
pub(crate) fn task(site: &str) -> NewTask {
    let request =
        json!({"kind": "setup", "url": format!("https://{site}"), "username": "admin", "role": "source"});
    NewTask {
        id: TaskId::new(),
        request: serde_json::from_value(request).unwrap(),
        sealed_secrets: "sealed".into(),
        owner: "alice".into(),
        traceparent: None,
        idempotency: None,
    }
}

pub(crate) fn owned(mut task: NewTask, owner: &str) -> NewTask {
    task.owner = owner.into();
    task
}

pub(crate) fn idempotent(mut task: NewTask, key: &str, fingerprints: &[&str]) -> NewTask {
    let fingerprints = fingerprints.iter().map(|f| (*f).to_owned()).collect();
    task.idempotency = Some(Idempotency { key: key.into(), fingerprints });
    task
}

/// A plan from lines of `stage name`, phases separated by `|`: `"browser a, transfer b | browser c"`.
pub(crate) fn plan(text: &str) -> Plan {
    let step = |step: &str| {
        let (stage, name) = step.trim().split_once(' ').unwrap();
        StepPlan { name: name.into(), stage: stage.parse().unwrap() }
    };
    text.split('|').map(|phase| phase.split(',').map(step).collect()).collect()
}

pub(crate) fn sites(names: &[&str]) -> Vec<SiteKey> {
    names.iter().map(|n| SiteUrl::parse(&format!("https://{n}")).unwrap().key()).collect()
}

pub(crate) fn problem(code: Code) -> Problem {
    Problem::new(code, "It went wrong.")
}

/// What tests do with a queue, each expecting it to work.
pub(crate) trait Short {
    async fn accept(&self, task: &NewTask) -> TaskId;
    async fn take(&self) -> Claim;
    async fn nothing_ready(&self);
    async fn task(&self, id: TaskId) -> TaskRecord;
    async fn done(&self, claim: &Claim);
}

impl Short for Queue {
    async fn accept(&self, task: &NewTask) -> TaskId {
        assert_eq!(self.enqueue(task).await.unwrap(), Enqueued::New(task.id));
        task.id
    }

    async fn take(&self) -> Claim {
        self.claim("w1", Stage::ALL).await.unwrap().expect("a step is ready")
    }

    async fn nothing_ready(&self) {
        assert!(self.claim("w1", Stage::ALL).await.unwrap().is_none(), "no step is ready");
    }

    async fn task(&self, id: TaskId) -> TaskRecord {
        match self.get(id).await.unwrap() {
            Found::Task(task) => *task,
            other => panic!("{id} is {other:?}"),
        }
    }

    async fn done(&self, claim: &Claim) {
        self.complete(&claim.lease, &StepOutput::default()).await.unwrap();
    }
}
