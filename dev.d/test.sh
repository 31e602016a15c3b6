# shellcheck shell=bash
# Sourced by ./dev: lints, tests and fuzzing.

# --- steps: each is timed, and the summary at the end lists them all ------------------------------------------------

SUMMARY=() FAILED=0 LAST=

# step NAME COMMAND...: runs it, records how it ended, continues.
step() {
    local name=$1 began=$SECONDS
    shift
    say "$name"
    LAST=passed
    "$@" || LAST=FAILED FAILED=1
    record "$name" "$LAST" "$((SECONDS - began)) s"
}

record() {
    SUMMARY+=("$(printf '%-26s %s (%s)' "$1" "$2" "$3")")
}

summary() {
    say "summary"
    printf '    %s\n' "${SUMMARY[@]}" >&2
    return $FAILED
}

declare -A BACKGROUND=() LOGS=()
# in_background NAME COMMAND...: starts it beside what follows. `await_background NAME` shows its output and records it.
in_background() {
    local name=$1 log
    shift
    log=$(mktemp)
    trap stop_background EXIT
    # A process group of its own, so that all of it can be ended.
    set -m
    (
        set +e
        began=$SECONDS
        # Not as a condition: that would switch `set -e` off in all that it calls.
        (set -e && "$@") </dev/null
        code=$?
        echo $((SECONDS - began)) >"$log.seconds"
        exit $code
    ) >"$log" 2>&1 &
    set +m
    BACKGROUND[$name]=$! LOGS[$name]=$log
}

await_background() {
    local name=$1 log=${LOGS[$1]}
    say "$name (ran beside the others)"
    LAST=passed
    wait "${BACKGROUND[$name]}" || LAST=FAILED FAILED=1
    cat "$log"
    record "$name" "$LAST" "$(cat "$log.seconds" 2>/dev/null || echo '?') s, beside others"
    unset "BACKGROUND[$name]"
    rm -f "$log" "$log.seconds"
}

stop_background() {
    local name
    for name in "${!BACKGROUND[@]}"; do
        kill -TERM -- "-${BACKGROUND[$name]}" 2>/dev/null || true
        rm -f "${LOGS[$name]}" "${LOGS[$name]}.seconds"
    done
}

# --- lints ------------------------------------------------------------------------------------------------------

lint() {
    step "format" cargo fmt --all --check
    step "lints" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    step "licences and sources" cargo-deny --log-level error --locked check bans licenses sources
}

# --- tests ------------------------------------------------------------------------------------------------------

# What only tests need, and what the first of them to need it would otherwise wait for.
fetch_for_tests() {
    install_wordpress
    install_valkey
    install_mysql
    install_schemathesis
    npm ci --silent --no-audit --no-fund --prefix api/tests/dashboard/node
}

# The programs that tests start, and the tests. At once: tests need more features of some libraries, and what is built
# without them would be built a second time with them.
build_tests() {
    cargo build --quiet --locked --workspace --bins --tests
}

# run_tests [OPTION...] [WORD...]: builds everything, then runs the tests.
run_tests() {
    step "programs and tests" build_tests
    [ $LAST = passed ] || return 0
    test_programs "$@"
}

# test_programs [OPTION...] [WORD...]: hands over to the runner. It does not repeat programs that have passed before.
test_programs() {
    local before
    before=$(mktemp)
    step "tests" "$(target)/debug/test-runner" --summary "$before" "$@"
    [ ! -s "$before" ] || record "of the tests" "not repeated" "$(cat "$before")"
    rm -f "$before"
}

test_words() {
    fetch_for_tests
    run_tests "$@"
}

# What one runs between edits: no end-to-end test but a few, no fuzzing, nothing of other PHP versions.
test_quick() {
    fetch_for_tests
    step "format" cargo fmt --all --check
    step "lints" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    run_tests --quick
}

test_all() {
    in_background "downloads" fetch_for_tests
    install_cargo_deny
    install_cargo_fuzz
    step "programs and tests" build_tests
    await_background "downloads"
    [ $FAILED -eq 0 ] || return 0
    in_background "plugin" migrator-plugin/tests/run
    lint
    test_programs
    if [ -n "${WPCLONE_TEST_ALL:-}" ]; then
        test_cluster "$(target)/debug/test-runner" --cluster
    else
        record "cluster tests" "not run" "./dev test cluster runs them"
    fi
    [ -n "${WPCLONE_TEST_ALL:-}" ] || record "rounds, rows and screens" "shortened" "all of them: ./dev test long"
    await_background "plugin"
    fuzz_all
}

test_long() {
    export WPCLONE_TEST_ALL=1
    install_wordpress_6_5
    test_all
    step "schemathesis, longer" env WPCLONE_EXAMPLES=200 cargo test --locked -p wpclone-api --test schemathesis
    export WPCLONE_ROUNDS=100
    step "the queue, longer" cargo test --locked -p wpclone-queue -- --include-ignored
    step "killed apis" cargo test --locked -p wpclone-tests --test e2e an_api
    step "killed clones" env WPCLONE_ROUNDS=50 \
        cargo test --locked -p wpclone-tests --test e2e -- --nocapture whichever_process
    step "a gigabyte of SQL" cargo test --locked -p wpclone-tests --test e2e -- --ignored a_gigabyte
    step "WordPress 6.5" cargo test --locked -p wpclone-tests --test e2e -- --ignored wordpress_6_5
}

# --- fuzzing: targets of a workspace of their own, on what libFuzzer makes up ----------------------------------------

FUZZERS=crates/rewrite/fuzz

# Fuzzing of code that has passed it on this machine is not repeated, except in the long form.
fuzz_all() {
    local done_before
    done_before=$CACHE/passed/fuzzing-$(fingerprint crates/rewrite)
    if [ -z "${WPCLONE_TEST_ALL:-}${WPCLONE_FUZZ:-}" ] && [ -e "$done_before" ]; then
        record "fuzzing" "not repeated" "crates/rewrite is as it was on $(date -r "$done_before" +%F)"
        return
    fi
    local failed_before=$FAILED
    FAILED=0
    step "lints of fuzz targets" lint_fuzzers
    step "fuzz targets" build_fuzzers
    [ $LAST != passed ] ||
        step "fuzzing" fuzz "${WPCLONE_FUZZ:-$([ -n "${WPCLONE_TEST_ALL:-}" ] && echo 3600 || echo 40)}"
    if [ $FAILED -eq 0 ]; then
        mkdir -p "$CACHE/passed"
        touch "$done_before"
    fi
    [ $failed_before -eq 0 ] || FAILED=1
}

# A digest of the content of the folders and of the compiler; nothing that is the same was built from other code.
fingerprint() {
    {
        rustc --version
        git ls-files -z --cached --others --exclude-standard -- "$@" | sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c1-16
}

lint_fuzzers() {
    cargo fmt --manifest-path $FUZZERS/Cargo.toml --check &&
        cargo clippy --quiet --locked --manifest-path $FUZZERS/Cargo.toml --all-targets -- -D warnings &&
        cargo-deny --config deny.toml --log-level error --locked --manifest-path $FUZZERS/Cargo.toml check \
            bans licenses sources
}

# The toolchain is a stable one and has no sanitizers; in code without `unsafe` they would find nothing.
build_fuzzers() {
    # Only this says when the lock file is not what the manifest asks for.
    cargo metadata --locked --format-version 1 --manifest-path $FUZZERS/Cargo.toml >/dev/null &&
        CARGO_TERM_QUIET=true cargo fuzz build --sanitizer none --fuzz-dir $FUZZERS
}

# fuzz SECONDS: all targets, two at a time, for so long in all.
fuzz() {
    local targets target seconds running=0 failed=0
    mapfile -t targets < <(cargo fuzz list --fuzz-dir $FUZZERS)
    seconds=$(($1 / ((${#targets[@]} + 1) / 2)))
    for target in "${targets[@]}"; do
        if [ $running -eq 2 ]; then wait -n || failed=1; else running=$((running + 1)); fi
        fuzz_target "$target" "$seconds" &
    done
    while [ $running -gt 0 ]; do
        wait -n || failed=1
        running=$((running - 1))
    done
    return $failed
}

# Begins with the seeds each time, and forgets what it learned. What breaks the target is kept beside its sources.
fuzz_target() {
    local target=$1 seconds=$2 work seeds=() code=0
    work=$(mktemp -d)
    mkdir "$work/corpus"
    [ ! -e "$FUZZERS/seeds/$target" ] || seeds=("$FUZZERS/seeds/$target")
    timeout --kill-after 10 $((seconds + 120)) \
        cargo fuzz run --sanitizer none --fuzz-dir $FUZZERS "$target" "$work/corpus" "${seeds[@]}" -- \
        -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        >"$work/log" 2>&1 || code=$?
    if [ $code -eq 0 ]; then
        say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") values, nothing found"
    else
        tail -n 60 "$work/log" >&2
        say "$target found something (or did not run). What it was is in $FUZZERS/artifacts/$target; once more with
    $CACHE/tools/bin/cargo-fuzz run -s none --fuzz-dir $FUZZERS $target $FUZZERS/artifacts/$target/FILE"
    fi
    rm -rf "$work"
    return $code
}

