# shellcheck shell=bash
# Programs of the node: started, awaited, watched. Runs inside the cluster's namespaces.

declare -A NAMES=()

# start NAME COMMAND...: in the background, with its output in log/NAME.log.
start() {
    local name=$1
    shift
    "$@" </dev/null >"/mnt/log/$name.log" 2>&1 &
    NAMES[$!]=$name
}

stage() { echo "$(date +%T.%N | cut -c1-11) $*"; }

# Says why there is no cluster, to who waits outside, and ends all of it.
fail() {
    printf '%s\n' "$*" >/mnt/failed.new
    mv /mnt/failed.new /mnt/failed
    exit 1
}

fail_with_log() {
    fail "$2; its log ($STATE/log/$1.log) ends:
$(tail -n 20 "/mnt/log/$1.log" | cut -c1-400)"
}

# A program that has ended is a failure, whoever is waited for.
check_programs() {
    local pid
    for pid in "${!NAMES[@]}"; do
        kill -0 "$pid" 2>/dev/null || fail_with_log "${NAMES[$pid]}" "${NAMES[$pid]} has ended"
    done
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() { await_program "" "$@"; }

# await_program NAME SECONDS WHAT COMMAND...: the same; the log of that program is shown when it is in vain.
await_program() {
    local name=$1 limit=$2 what=$3 began=$SECONDS
    shift 3
    until "$@" >/dev/null 2>&1; do
        check_programs
        if ((SECONDS - began >= limit)); then
            if [ -n "$name" ]; then fail_with_log "$name" "waited $limit s in vain for $what"; fi
            fail "waited $limit s in vain for $what. The last try: $("$@" 2>&1 | tail -n 20 || true)"
        fi
        sleep 0.1
    done
}

# Until one of them ends, which is a failure, or somebody ends all.
watch_programs() {
    local ended
    wait -n -p ended "${!NAMES[@]}" || true
    fail_with_log "${NAMES[$ended]}" "${NAMES[$ended]} has ended"
}
