//! A real Redis for each test, and short words for what tests do with it.

use serde_json::json;
use wpclone_queue::{
    Claim, EnqueueOutcome, Idempotency, Lease, NewTask, Queue, QueueOptions, StoredOutput, TaskLookup,
    TaskRecord,
};
use wpclone_task::{Code, Plan, Problem, SiteKey, SiteUrl, Stage, StepPlan, TaskId};
pub(crate) use wpclone_test_redis::Redis;

/// What tests of the queue do with a Redis.
pub(crate) trait Queues {
    /// A queue with its defaults.
    fn queue(&self) -> Queue {
        self.queue_with(QueueOptions::default())
    }

    fn queue_with(&self, options: QueueOptions) -> Queue;

    /// Makes a lease run out.
    async fn expire_lease(&self, claim: &Claim);

    /// Makes a delayed step due.
    async fn make_due(&self, claim: &Claim);

    /// Waits until Redis' clock has advanced by 1 ms, so that later entries are younger than earlier ones.
    async fn next_millisecond(&self);

    /// Moves the clock forward or back (ms). Redis' own clock cannot be set, so every stored time is shifted the other
    /// way, which is the same for the queue.
    async fn advance_clock(&self, by: i64);

    /// Whether any stored string contains this text.
    async fn holds(&self, text: &str) -> bool;
}

impl Queues for Redis {
    fn queue_with(&self, options: QueueOptions) -> Queue {
        Queue::new(&self.url(), options).unwrap()
    }

    async fn expire_lease(&self, claim: &Claim) {
        self.command::<()>(&format!("ZADD {{wpclone}}:leases:{} XX 1 {}", claim.stage, member(&claim.lease)))
            .await;
    }

    async fn make_due(&self, claim: &Claim) {
        self.command::<()>(&format!(
            "ZADD {{wpclone}}:delayed:{} XX 1 {}",
            claim.stage,
            member(&claim.lease)
        ))
        .await;
    }

    async fn next_millisecond(&self) {
        let now = async || {
            let time: Vec<u64> = self.command("TIME").await;
            time[0] * 1000 + time[1] / 1000
        };
        let before = now().await;
        while now().await == before {}
    }

    async fn advance_clock(&self, by: i64) {
        let mut connection = self.connect().await.unwrap();
        redis::Script::new(SHIFT_TIMES).arg(by).invoke_async::<()>(&mut connection).await.unwrap();
    }

    async fn holds(&self, text: &str) -> bool {
        let mut connection = self.connect().await.unwrap();
        let keys: Vec<String> = self.command("KEYS *").await;
        for key in keys {
            let value: Option<String> = redis::cmd("GET").arg(key).query_async(&mut connection).await.ok();
            if value.is_some_and(|value| value.contains(text)) {
                return true;
            }
        }
        false
    }
}

const SHIFT_TIMES: &str = r"
    local by = tonumber(ARGV[1])
    local function keys(pattern) return redis.call('KEYS', '{wpclone}:' .. pattern) end
    local function int(n) return string.format('%.0f', n) end
    for _, pattern in ipairs({ 'leases:*', 'delayed:*', 'ready:*:*', 'waiting:*', 'site_queue:*', 'finished', 'finished:*', 'cleanup_deadlines', 'site_cleanups', 'site_cleanups:*', 'site_cleanups_of_owner:*', 'site_cleanup_grants' }) do
      for _, key in ipairs(keys(pattern)) do
        local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
        for n = 1, #all, 2 do redis.call('ZADD', key, int(tonumber(all[n + 1]) - by), all[n]) end
      end
    end
    for _, key in ipairs(keys('live:*')) do
      local all = redis.call('HGETALL', key)
      for n = 1, #all, 2 do
        local name = string.match(all[n], '%a+$')
        local is_time = name == 'ready' or name == 'started' or name == 'finished' or name == 'score' or name == 'since'
        if is_time and all[n + 1] ~= '' then redis.call('HSET', key, all[n], int(tonumber(all[n + 1]) - by)) end
      end
    end
    for _, key in ipairs(keys('site_share:*')) do
      redis.call('HINCRBY', key, 'since', int(-by))
    end
    for _, key in ipairs(keys('task:*')) do
      local body = redis.call('GET', key)
      redis.call('SET', key, (string.gsub(body, '^1 (%d+)', function(at) return '1 ' .. int(tonumber(at) - by) end)))
    end
    for _, key in ipairs(keys('request_secrets:*')) do
      local left = redis.call('PTTL', key) - by
      if left <= 0 then redis.call('DEL', key) else redis.call('PEXPIRE', key, int(left)) end
    end
    -- Tokens are compared with those that workers hold: they stay, and are ahead of a clock that goes back.
    local fence = redis.call('GET', '{wpclone}:fencing_token')
    if fence and by < 0 then redis.call('SET', '{wpclone}:fencing_token', int(tonumber(fence) - by * 1000)) end";

/// A record of a /setup task in this version.
pub(crate) fn record(version: u32, site: &str, request: &str) -> String {
    format!("{version} 1 1\nsetup\nalice\n0 browser setup\n{site}\n\n\n{request}\nsealed")
}

pub(crate) async fn put_record(redis: &Redis, id: TaskId, record: &str) {
    let mut set = redis::cmd("SET");
    set.arg(format!("{{wpclone}}:task:{id}")).arg(record);
    set.exec_async(&mut redis.connect().await.unwrap()).await.unwrap();
}

fn member(lease: &Lease) -> String {
    format!("{}:{}", lease.task, lease.step)
}

/// What stands for the sealed secrets of a request.
pub(crate) const SECRETS: &str = "sealed-secrets";

/// A /setup task on a site of this name.
pub(crate) fn task(site: &str) -> NewTask {
    let request =
        json!({"kind": "setup", "url": format!("https://{site}"), "username": "admin", "role": "source"});
    NewTask::new(serde_json::from_value(request).unwrap(), SECRETS.into(), "alice".into())
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

/// A plan from lines of `stage name`, phases separated by `|`, optional steps with a `?`, those that clean up after a
/// `!`: `"browser a, transfer b | browser c? ! transfer d"`.
pub(crate) fn plan(text: &str) -> Plan {
    let step = |step: &str| {
        let (stage, name) = step.trim().split_once(' ').unwrap();
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        StepPlan { name: name.into(), stage: stage.parse().unwrap(), optional, share: 1 }
    };
    let steps = |phase: &str| phase.split(',').map(step).collect();
    let (phases, clean_up) = text.split_once('!').map_or((text, None), |(phases, last)| (phases, Some(last)));
    Plan { phases: phases.split('|').map(steps).collect(), clean_up: clean_up.map(steps).unwrap_or_default() }
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
    /// Claims a step that has to be ready, and confirms the claim, as a worker does before it begins.
    async fn take(&self) -> Claim;
    async fn nothing_ready(&self);
    async fn task(&self, id: TaskId) -> TaskRecord;
    async fn done(&self, claim: &Claim);
}

impl Short for Queue {
    async fn accept(&self, task: &NewTask) -> TaskId {
        assert_eq!(self.enqueue(task).await.unwrap(), EnqueueOutcome::Accepted(task.id));
        task.id
    }

    async fn take(&self) -> Claim {
        let claim = self.claim("w1", Stage::ALL).await.unwrap().expect("a step is ready");
        self.heartbeat(&claim.lease, None).await.unwrap();
        claim
    }

    async fn nothing_ready(&self) {
        assert!(self.claim("w1", Stage::ALL).await.unwrap().is_none(), "no step is ready");
    }

    async fn task(&self, id: TaskId) -> TaskRecord {
        match self.get(id).await.unwrap() {
            TaskLookup::Found(task) => *task,
            other => panic!("{id} is {other:?}"),
        }
    }

    async fn done(&self, claim: &Claim) {
        self.complete(&claim.lease, &StoredOutput::default()).await.unwrap();
    }
}
