//! The Lua functions, as a library of Redis (since 7.0). Each atomic operation is one of them. Redis compiles a library
//! once; a script would build its shared parts anew in every call, which is a third of the cost of a short one.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, ToRedisArgs};
use sha2::{Digest as _, Sha256};
use wpclone_redis::{Connection, LAYOUT, layout_lua};

/// How many libraries of other versions are kept: those of a deploy in progress.
const OTHER_LIBRARIES: usize = 8;

/// The flag of functions that write nothing.
const NO_WRITES: &str = "no-writes";

/// Name, flag and text of each function. With `allow-oom` a function runs when Redis' memory is full, as all must that
/// lead to a task's end; without a flag Redis refuses the whole call then.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("ping", NO_WRITES, include_str!("lua/ping.lua")),
    ("list", NO_WRITES, include_str!("lua/list.lua")),
    ("stats", NO_WRITES, include_str!("lua/stats.lua")),
    ("get", NO_WRITES, include_str!("lua/get.lua")),
    ("list_waits", NO_WRITES, include_str!("lua/list_waits.lua")),
    ("events", NO_WRITES, include_str!("lua/events.lua")),
    ("list_site_cleanups", NO_WRITES, include_str!("lua/list_site_cleanups.lua")),
    ("enqueue", "", include_str!("lua/enqueue.lua")),
    ("replay", "", include_str!("lua/replay.lua")),
    ("claim", "allow-oom", include_str!("lua/claim.lua")),
    ("heartbeat", "allow-oom", include_str!("lua/heartbeat.lua")),
    ("set_target_changed", "allow-oom", include_str!("lua/set_target_changed.lua")),
    ("set_checkpoint", "allow-oom", include_str!("lua/set_checkpoint.lua")),
    ("set_site_cleanup", "allow-oom", include_str!("lua/set_site_cleanup.lua")),
    ("supersede_site_cleanups", "allow-oom", include_str!("lua/supersede_site_cleanups.lua")),
    ("share_site", "allow-oom", include_str!("lua/share_site.lua")),
    ("leave_site", "allow-oom", include_str!("lua/leave_site.lua")),
    ("complete", "allow-oom", include_str!("lua/complete.lua")),
    ("fail", "allow-oom", include_str!("lua/fail.lua")),
    ("confirm_cancel", "allow-oom", include_str!("lua/confirm_cancel.lua")),
    ("release", "allow-oom", include_str!("lua/release.lua")),
    ("cancel", "allow-oom", include_str!("lua/cancel.lua")),
    ("sweep", "allow-oom", include_str!("lua/sweep.lua")),
    ("report_worker", "allow-oom", include_str!("lua/report_worker.lua")),
    ("remove_worker", "allow-oom", include_str!("lua/remove_worker.lua")),
];

/// What all functions share.
static SHARED: LazyLock<String> = LazyLock::new(|| {
    [
        &layout_lua(),
        include_str!("lua/keys.lua"),
        include_str!("lua/record.lua"),
        include_str!("lua/task.lua"),
        include_str!("lua/sites.lua"),
        include_str!("lua/site_cleanups.lua"),
        include_str!("lua/sharing.lua"),
        include_str!("lua/ending.lua"),
        include_str!("lua/limits.lua"),
        include_str!("lua/claiming.lua"),
        include_str!("lua/waits.lua"),
    ]
    .concat()
});

/// The library. Its name has the layout and a hash of its text, so that versions can run side by side.
struct Library {
    name: String,
    text: String,
}

/// What the names of all libraries of this layout begin with.
static PREFIX: LazyLock<String> = LazyLock::new(|| format!("wpclone_layout{LAYOUT}_"));

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(SHARED.as_str());
    for (name, flag, text) in FUNCTIONS {
        for part in [name, flag, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let name = format!("{}{}", *PREFIX, hex::encode(&hash.finalize()[..8]));
    let mut text = format!("#!lua name={name}\n{}", *SHARED);
    for (function, flag, body) in FUNCTIONS {
        let flags = if flag.is_empty() { String::new() } else { format!("'{flag}'") };
        let may_write = *flag != NO_WRITES;
        text += &format!(
            "do\nlocal function run()\n{body}end\nredis.register_function{{ function_name = '{name}_{function}', \
             callback = function(keys, args) return init_call(keys, args, {may_write}) or run() end, flags = {{ {flags} }} }}\nend\n"
        );
    }
    Library { name, text }
});

/// A call of a function; its arguments are added to it.
pub(crate) struct Call {
    function: &'static str,
    cmd: Cmd,
}

impl Call {
    /// All keys of the queue lie in the slot of its tag. Two are named: while a cluster moves a slot, it executes a call of
    /// one missing key on the new node, where nothing is yet; a call of several keys it refuses.
    pub(crate) fn new(function: &'static str, tag: &str) -> Self {
        let mut cmd = redis::cmd("FCALL");
        cmd.arg(format!("{}_{function}", LIBRARY.name)).arg(2).arg(tag).arg(format!("{tag}:"));
        Self { function, cmd }
    }

    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// Executes the call. The library is loaded when Redis does not have it: Redis is new, or came back without its data.
    pub(crate) async fn run<T: redis::FromRedisValue>(
        &self,
        redis: &mut Connection,
        tag: &str,
    ) -> RedisResult<T> {
        match self.cmd.query_async(redis).await {
            Err(e) if is_unknown(&e) => {
                // As a script: nothing is loaded into a Redis with another layout.
                Self::new("ping", tag).as_script(e)?.query_async::<()>(redis).await?;
                match load(redis).await {
                    Ok(()) => self.cmd.query_async(redis).await,
                    Err(e) if e.code() == Some("OOM") => self.as_script(e)?.query_async(redis).await,
                    Err(e) => Err(e),
                }
            }
            done => done,
        }
    }

    /// The same call as a script: a Redis whose memory is full does not load a library. Returns the error for functions
    /// that must not run then.
    fn as_script(&self, refused: RedisError) -> RedisResult<Cmd> {
        let found = FUNCTIONS.iter().find(|(name, flag, _)| *name == self.function && !flag.is_empty());
        let (_, flag, body) = found.ok_or(refused)?;
        let may_write = *flag != NO_WRITES;
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(format!(
            "#!lua flags={flag}\nlocal args = ARGV\n{}local function run()\n{body}end\n\
             return init_call(KEYS, args, {may_write}) or run()\n",
            *SHARED
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

/// Loads the library, and deletes those of other versions when there are many. Libraries of other layouts are left alone.
async fn load(redis: &mut Connection) -> RedisResult<()> {
    let loaded: RedisResult<String> =
        redis::cmd("FUNCTION").arg("LOAD").arg(&LIBRARY.text).query_async(redis).await;
    match loaded {
        // Another program has loaded it meanwhile.
        Err(e) if !e.to_string().contains("already exists") => return Err(e),
        _ => {}
    }
    let listed: Vec<Vec<redis::Value>> = redis::cmd("FUNCTION")
        .arg("LIST")
        .arg("LIBRARYNAME")
        .arg(format!("{}*", *PREFIX))
        .query_async(redis)
        .await?;
    let names = listed
        .into_iter()
        .filter_map(|library| redis::from_redis_value::<String>(library.into_iter().nth(1)?).ok());
    let others: Vec<String> = names.filter(|name| *name != LIBRARY.name).collect();
    if others.len() > OTHER_LIBRARIES {
        for name in others {
            // A program that still needs it loads it again.
            let _: RedisResult<()> = redis::cmd("FUNCTION").arg("DELETE").arg(name).query_async(redis).await;
        }
    }
    Ok(())
}
