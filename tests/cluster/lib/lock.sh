# shellcheck shell=bash
# Remakes modules/*/go.mod and go.sum from versions.sh. Needed only when a version changes.

lock_modules() {
    need_go
    local build
    for build in "${BUILDS[@]}"; do
        say "locking the modules of $build"
        lock_module "$build" || die "the modules of $build could not be locked"
    done
}

lock_module() {
    local module=${BUILD_MODULE[$1]} folder=$CLUSTER_SOURCE/modules/$1 upstream entry
    rm -rf "$folder"
    mkdir -p "$folder"
    cd "$folder" || return
    printf '// Made by `./dev cluster lock`.\nmodule wpclone.invalid/%s\n\ngo %s\n' "$1" "$GO_VERSION" >go.mod
    upstream=$(module_folder "$module")
    go mod edit -require="$module"
    replacements "$upstream/go.mod" | xargs -r go mod edit
    for entry in ${BUILD_PROGRAMS[$1]}; do go mod edit -tool="${entry%=*}"; done
    go mod tidy
}

# A module's `replace` lines count only where it is the main module, so they are repeated. Kubernetes replaces its
# libraries by folders of its repository; these are published under the number of its release.
replacements() {
    go mod edit -json "$1" | libraries=v0.${KUBERNETES_VERSION#*.} python3 -c '
import json, os, sys
def at(module): return "@".join(filter(None, [module["Path"], module.get("Version")]))
for line in json.load(sys.stdin).get("Replace") or []:
    old, new = line["Old"], line["New"]
    if new["Path"].startswith("./staging/"):
        new = {"Path": old["Path"], "Version": os.environ["libraries"]}
    if not new["Path"].startswith("."):
        print("-replace=%s=%s" % (at(old), at(new)))'
}
