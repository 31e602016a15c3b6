//! The Lua scripts. What needs to be atomic is one of them.

use std::sync::LazyLock;

use redis::Script;

const PRELUDE: &str = include_str!("lua/prelude.lua");
const TASK: &str = include_str!("lua/task.lua");

/// A script that only reads.
macro_rules! reader {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&["#!lua flags=no-writes\n", PRELUDE, include_str!($file)].concat())
        });
    };
}

/// A script that writes. With `allow-oom` it runs when Redis' memory is full, as all must that lead to a task's
/// end. Without, Redis refuses it as a whole then: the shebang lets it look before the first command.
macro_rules! writer {
    ($name:ident, $file:literal, $flags:literal) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[concat!("#!lua", $flags, "\n"), PRELUDE, TASK, include_str!($file)].concat())
        });
    };
}

reader!(LIST, "lua/list.lua");
reader!(STATS, "lua/stats.lua");
writer!(ENQUEUE, "lua/enqueue.lua", "");
writer!(CLAIM, "lua/claim.lua", " flags=allow-oom");
writer!(HEARTBEAT, "lua/heartbeat.lua", " flags=allow-oom");
writer!(CHANGED, "lua/changed.lua", " flags=allow-oom");
writer!(COMPLETE, "lua/complete.lua", " flags=allow-oom");
writer!(FAIL, "lua/fail.lua", " flags=allow-oom");
writer!(CANCELLED, "lua/cancelled.lua", " flags=allow-oom");
writer!(RELEASE, "lua/release.lua", " flags=allow-oom");
writer!(CANCEL, "lua/cancel.lua", " flags=allow-oom");
writer!(SWEEP, "lua/sweep.lua", " flags=allow-oom");
writer!(REPORT, "lua/report.lua", " flags=allow-oom");
