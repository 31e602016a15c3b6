# shellcheck shell=bash
# Builds the programs of versions.sh into $PROGRAMS: bin/ for those that run on the node, images/ for those that run in
# pods, manifests-DIGEST/ for what goes with these. What is there is not built again, also after an interruption.

# Which programs run in pods, each as an image of its own.
POD_PROGRAMS=(coredns kro keda keda-adapter metrics-server)

build_all() {
    if [ -e "$PROGRAMS/complete" ] && [ -e "$PROGRAMS/$MANIFESTS" ]; then return; fi
    need_go
    mkdir -p "$PROGRAMS"/{bin,images,done}
    exec 8>"$PROGRAMS/lock"
    flock --nonblock 8 || { say "another run builds the cluster's programs; waiting for it" && flock 8; }
    [ -e "$PROGRAMS/complete" ] || build_programs
    [ -e "$PROGRAMS/$MANIFESTS" ] || render_manifests
    exec 8>&-
}

build_programs() {
    local build number=0
    say "building a Kubernetes into $PROGRAMS (once for these versions; some $(minutes_left) minutes on two cores)"
    for build in "${BUILDS[@]}"; do
        number=$((number + 1))
        [ -e "$PROGRAMS/done/$build" ] || build_one "$build" "$number of ${#BUILDS[@]}"
    done
    build_pause
    for build in "${POD_PROGRAMS[@]}"; do make_image "$build"; done
    touch "$PROGRAMS/complete"
}

# make_image PROGRAM: afterwards the program is in its image alone.
make_image() {
    if [ ! -e "$PROGRAMS/bin/$1" ]; then return; fi
    image_archive "localhost/$1:cluster" "$PROGRAMS/bin/$1" >"$PROGRAMS/images/$1.new" || die "no image could be made of $1"
    mv "$PROGRAMS/images/$1.new" "$PROGRAMS/images/$1.tar"
    rm "$PROGRAMS/bin/$1"
}

minutes_left() {
    local build minutes=0
    for build in "${BUILDS[@]}"; do
        [ -e "$PROGRAMS/done/$build" ] || minutes=$((minutes + BUILD_MINUTES[$build]))
    done
    echo "$minutes"
}

# build_one BUILD POSITION
build_one() {
    local build=$1 log=$PROGRAMS/$1.log pid began=$SECONDS
    say "$2: ${BUILD_MODULE[$build]}, some ${BUILD_MINUTES[$build]} minutes"
    compile "$build" >"$log" 2>&1 &
    pid=$!
    # Go names each package that it compiles; those in its cache are not named.
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if (((SECONDS - began) % 30 == 29)); then say "   $((SECONDS - began)) s: $(progress "$log")"; fi
    done
    wait "$pid" || die "$build does not build; $log ends:
$(tail -n 15 "$log")"
    touch "$PROGRAMS/done/$build"
    rm "$log"
}

# Before the first package is compiled, Go fetches modules.
progress() {
    local all
    all=$(sed -n 's/^packages: //p' "$1")
    if [ -z "$all" ]; then
        echo "$(grep -c '^go: downloading' "$1" || true) modules fetched"
    else
        echo "$(grep -cvE '^(go|packages): ' "$1" || true) of $all packages compiled, less those in Go's cache"
    fi
}

# A build's programs, one after the other: at once the linker would want the memory of all of them.
compile() {
    local entry variable link=(-s -w)
    cd "$CLUSTER_SOURCE/modules/$1" || return
    # shellcheck disable=SC2046 # names of packages
    echo "packages: $(go list -deps $(printf '%s\n' ${BUILD_PROGRAMS[$1]} | cut -d= -f1) | wc -l)"
    for variable in $(version_variables "$1"); do link+=(-X "$variable"); done
    for entry in ${BUILD_PROGRAMS[$1]}; do
        go build -v -trimpath -mod=readonly -tags "${BUILD_TAGS[$1]:-}" -ldflags "${link[*]}" \
            -o "$PROGRAMS/bin/${entry#*=}" "${entry%=*}" || return
    done
}

# What holds a pod's namespaces: a program of C, in the source of Kubernetes.
build_pause() {
    gcc -Os -static -DVERSION="v$KUBERNETES_VERSION" -o "$PROGRAMS/bin/pause" \
        "$(module_folder "${BUILD_MODULE[kubernetes]}")/build/pause/linux/pause.c" || die "pause does not build"
    make_image pause
}

# Each project's own manifests, changed by what lies in addons/.
render_manifests() {
    local work addon
    work=$(mktemp -d "$PROGRAMS/rendering-XXXXXX")
    cp -r "$CLUSTER_SOURCE/addons/." "$work"
    mkdir "$work/rendered"
    upstream kro helm/crds "$work/kro"
    upstream keda config "$work/keda"
    upstream metrics-server manifests/base "$work/metrics-server"
    for addon in "$CLUSTER_SOURCE"/addons/*/; do
        addon=$(basename "$addon")
        {
            echo ---
            "$PROGRAMS/bin/kubectl" kustomize "$work/$addon"
        } >"$work/rendered/$addon.yaml" 2>"$work/warnings" ||
            die "the manifests of $addon do not fit those of its project: $(cat "$work/warnings")"
    done
    mv "$work/rendered" "$PROGRAMS/$MANIFESTS"
    rm -rf "$work"
}

# upstream BUILD FOLDER ADDON: a folder of that build's source, as ADDON/upstream.
upstream() { cp -r --no-preserve=mode "$(module_folder "${BUILD_MODULE[$1]}")/$2" "$3/upstream"; }
