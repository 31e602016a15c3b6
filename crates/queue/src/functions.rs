//! The Lua functions (a library of Redis' own kind, since 7.0). What needs to be atomic is one of them. A library is
//! compiled once, where a script would build its shared parts anew at every call: a third of the cost of short ones.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, ToRedisArgs};
use sha2::{Digest as _, Sha256};
use wpclone_redis::Connection;

/// So many libraries of other versions may stay: those of a deploy under way.
const LIBRARIES: usize = 8;

/// Functions and what Redis is to know of them. `no-writes` only reads. With `allow-oom` it runs when Redis' memory is
/// full, as all must that lead to a task's end; without, Redis refuses it as a whole then.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("list", "no-writes", include_str!("lua/list.lua")),
    ("stats", "no-writes", include_str!("lua/stats.lua")),
    ("get", "no-writes", include_str!("lua/get.lua")),
    ("events", "no-writes", include_str!("lua/events.lua")),
    ("enqueue", "", include_str!("lua/enqueue.lua")),
    ("replay", "", include_str!("lua/replay.lua")),
    ("claim", "allow-oom", include_str!("lua/claim.lua")),
    ("heartbeat", "allow-oom", include_str!("lua/heartbeat.lua")),
    ("changed", "allow-oom", include_str!("lua/changed.lua")),
    ("complete", "allow-oom", include_str!("lua/complete.lua")),
    ("fail", "allow-oom", include_str!("lua/fail.lua")),
    ("cancelled", "allow-oom", include_str!("lua/cancelled.lua")),
    ("release", "allow-oom", include_str!("lua/release.lua")),
    ("cancel", "allow-oom", include_str!("lua/cancel.lua")),
    ("sweep", "allow-oom", include_str!("lua/sweep.lua")),
    ("report", "allow-oom", include_str!("lua/report.lua")),
];

const SHARED: &str =
    concat!(include_str!("lua/prelude.lua"), include_str!("lua/task.lua"), include_str!("lua/take.lua"));

/// The library, under a name of its own for each version: old and new programs may run side by side.
struct Library {
    name: String,
    text: String,
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(SHARED);
    for (name, flags, text) in FUNCTIONS {
        for part in [name, flags, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let name = format!("wpclone_{}", hex::encode(&hash.finalize()[..8]));
    let mut text = format!("#!lua name={name}\n{SHARED}");
    for (function, flag, body) in FUNCTIONS {
        let flags = if flag.is_empty() { String::new() } else { format!("'{flag}'") };
        text += &format!(
            "do\nlocal function run()\n{body}end\nredis.register_function{{ function_name = '{name}_{function}', \
             callback = function(keys, args) begin(keys, args) return run() end, flags = {{ {flags} }} }}\nend\n"
        );
    }
    Library { name, text }
});

/// A call of a function; its arguments follow.
pub(crate) struct Call {
    function: &'static str,
    cmd: Cmd,
}

impl Call {
    /// Every key of the queue lies in the slot of its tag. Two are named: while a cluster moves a slot, it answers a
    /// call of one key that is not there at the new place, where nothing is yet; one of several it refuses.
    pub(crate) fn new(function: &'static str, tag: &str) -> Self {
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(format!("{}_{function}", LIBRARY.name)).arg(2).arg(tag).arg(format!("{tag}:"));
        Self { function, cmd }
    }

    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// Runs it. When Redis does not know the function (it is new, or came back without its data), it is told first.
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, redis: &mut Connection) -> RedisResult<T> {
        match self.cmd.query_async(redis).await {
            Err(e) if is_unknown(&e) => match load(redis).await {
                Ok(()) => self.cmd.query_async(redis).await,
                Err(e) if e.code() == Some("OOM") => self.as_script(e)?.query_async(redis).await,
                Err(e) => Err(e),
            },
            done => done,
        }
    }

    /// A Redis whose memory is full takes no library. What has to go on then goes as a script.
    fn as_script(&self, refused: RedisError) -> RedisResult<Cmd> {
        let found = FUNCTIONS.iter().find(|(name, flag, _)| *name == self.function && !flag.is_empty());
        let (_, flag, body) = found.ok_or(refused)?;
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(format!(
            "#!lua flags={flag}\nlocal args = ARGV\n{SHARED}local function run()\n{body}end\nbegin(KEYS, args)\nreturn run()\n"
        ));
        for arg in self.cmd.args_iter().skip(2) {
            if let redis::Arg::Simple(arg) = arg {
                cmd.arg(arg);
            }
        }
        Ok(cmd)
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|detail| detail.contains("Function not found"))
}

async fn load(redis: &mut Connection) -> RedisResult<()> {
    let loaded: RedisResult<String> =
        redis::cmd("FUNCTION").arg("LOAD").arg(&LIBRARY.text).query_async(redis).await;
    match loaded {
        // Another has told it meanwhile.
        Err(e) if !e.to_string().contains("already exists") => return Err(e),
        _ => {}
    }
    let listed: Vec<Vec<redis::Value>> =
        redis::cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg("wpclone_*").query_async(redis).await?;
    let names = listed
        .into_iter()
        .filter_map(|library| redis::from_redis_value::<String>(library.into_iter().nth(1)?).ok());
    let old: Vec<String> = names.filter(|name| *name != LIBRARY.name).collect();
    if old.len() > LIBRARIES {
        for name in old {
            // Who still needs it tells it again.
            let _: RedisResult<()> = redis::cmd("FUNCTION").arg("DELETE").arg(name).query_async(redis).await;
        }
    }
    Ok(())
}
