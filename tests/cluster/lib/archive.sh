# shellcheck shell=bash
# An image of static programs, in the format of `docker save`, made without any of docker's kind.

# image_archive NAME:TAG PROGRAM...: writes the archive to standard output. The image runs the first of them.
image_archive() (
    name=$1 program=$2
    # Beside the programs: images are large, and /tmp may be memory.
    mkdir -p "$PROGRAMS"
    work=$(mktemp -d "$PROGRAMS/archive-XXXXXX") || die "no folder can be made in $PROGRAMS"
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/root/tmp" "$work/image"
    install -m 755 "${@:2}" "$work/root/"
    chmod 1777 "$work/root/tmp"
    reproducible_tar "$work/root" >"$work/image/layer.tar"
    layer=$(sha256sum "$work/image/layer.tar" | cut -d' ' -f1)
    cat >"$work/image/config.json" <<JSON
{"architecture": "$(dpkg --print-architecture)", "os": "linux",
 "config": {"Entrypoint": ["/$(basename "$program")"], "User": "65532:65532"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
JSON
    cat >"$work/image/manifest.json" <<JSON
[{"Config": "config.json", "RepoTags": ["$name"], "Layers": ["layer.tar"]}]
JSON
    reproducible_tar "$work/image"
)

# The same files make the same bytes, and so the same digest.
reproducible_tar() {
    tar --create --directory "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
}
