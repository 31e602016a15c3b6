# shellcheck shell=bash
# Sourced by ./dev: builds the images of the product with docker, podman or buildah. Where no registry is reached, the base
# image is made from Debian's packages, so that the same Dockerfiles are built everywhere.

IMAGES=(clone service browser databases)
IMAGE_PREFIX=${WPCLONE_IMAGE_PREFIX:-localhost/wpclone}
BASE_IMAGE=docker.io/library/debian:bookworm-slim
# What is made in its place has a name of its own: others on this machine may build on that one.
OWN_BASE_IMAGE=$IMAGE_PREFIX/base:bookworm

images_usage() {
    cat <<'TEXT'
./dev images [NAME...]    build images: clone, service, browser, databases; without a name all of them. The archive of
                          each is written to target/images, for `./dev cluster import`, `docker load` or `podman load`
Settings:
  WPCLONE_IMAGE_ENGINE    docker, podman or buildah             (the first of them that works)
  WPCLONE_IMAGE_PREFIX    what the images' names begin with     (localhost/wpclone)
  WPCLONE_IMAGE_TAG       their tag; that of clones gets -php8.2 at its end     (the version of the programs)
  WPCLONE_IMAGE_PHP       versions of PHP of the image of clones, such as "8.2 8.3" (clone-image/apt-sources)  (8.2)
  WPCLONE_IMAGE_PROFILE   Cargo's profile of the programs       (release)
  WPCLONE_WORDPRESS       the WordPress of clones: a folder, or the https URL of an archive (.tar.gz)  (Debian's)
  WPCLONE_WORDPRESS_SHA256
                          the checksum of that archive
TEXT
}

images_command() {
    local name
    case ${1:-} in help | -h | --help)
        images_usage
        return
        ;;
    esac
    for name in "$@"; do
        case " ${IMAGES[*]} " in *" $name "*) ;; *) die "there is no image '$name'; there are: ${IMAGES[*]}" ;; esac
    done
    [ $# -gt 0 ] || set -- "${IMAGES[@]}"
    choose_image_engine
    IMAGE_TAG=${WPCLONE_IMAGE_TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
    IMAGE_OUTPUT=$(target)/images
    mkdir -p "$IMAGE_OUTPUT" "$CACHE/images"
    exec 9>"$CACHE/images/lock"
    flock 9 || die "the images are being built by somebody else"
    ensure_base_image
    programs_of "$@"
    [ ${#PROGRAMS[@]} -eq 0 ] || build_programs_image
    for name in "$@"; do
        case $name in
        clone) build_clone_images ;;
        *) build_image "$name" "$name-image" "$IMAGE_TAG" ;;
        esac
    done
    # Buildah forgets the containers of stages that are only copied from.
    if [ "$IMAGE_ENGINE" = buildah ]; then engine rm --all >/dev/null; fi
}

# --- engines -------------------------------------------------------------------------------------------------------

choose_image_engine() {
    local engine
    for engine in ${WPCLONE_IMAGE_ENGINE:-docker podman buildah}; do
        if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
            IMAGE_ENGINE=$engine
            break
        fi
    done
    if [ -z "${IMAGE_ENGINE:-}" ]; then
        [ -z "${WPCLONE_IMAGE_ENGINE:-}" ] || die "$WPCLONE_IMAGE_ENGINE does not work here: see '$WPCLONE_IMAGE_ENGINE info'"
        install_missing buildah
        IMAGE_ENGINE=buildah
    fi
    [ "$IMAGE_ENGINE" = buildah ] || return 0
    # Buildah keeps what it makes in the cache folder, and needs no runtime for containers. What it mounts goes with it.
    local driver apart=()
    [ "$(id -u)" -ne 0 ] || apart=(unshare --mount)
    for driver in overlay vfs; do
        BUILDAH=("${apart[@]}" buildah --root "$CACHE/images/$driver" --runroot "$CACHE/images/run-$driver" --storage-driver "$driver")
        if "${BUILDAH[@]}" info >/dev/null 2>&1; then return 0; fi
    done
    die "buildah does not work here: $("${BUILDAH[@]}" info 2>&1 | tail -n 1)"
}

engine() {
    if [ "$IMAGE_ENGINE" = buildah ]; then "${BUILDAH[@]}" "$@"; else "$IMAGE_ENGINE" "$@"; fi
}

has_image() {
    case $IMAGE_ENGINE in
    buildah) engine inspect --type image "$1" >/dev/null 2>&1 ;;
    *) engine image inspect "$1" >/dev/null 2>&1 ;;
    esac
}

# engine_build NAME DOCKERFILE CONTEXT [ARGUMENT=VALUE...]
engine_build() {
    local name=$1 arguments=(--file "$2") context=$3 argument
    shift 3
    for argument in "$@"; do arguments+=(--build-arg "$argument"); done
    case $IMAGE_ENGINE in
    docker) engine build --quiet --tag "$name" "${arguments[@]}" "$context" >/dev/null ;;
    # Health checks are only in Docker's format.
    podman) engine build --quiet --format docker --tag "$name" "${arguments[@]}" "$context" >/dev/null ;;
    buildah)
        engine build --quiet --layers --format docker --isolation chroot --network host --pull-never --tag "$name" \
            "${arguments[@]}" "$context" >/dev/null
        ;;
    esac
}

engine_save() {
    rm -f "$2"
    case $IMAGE_ENGINE in
    buildah) engine push --quiet "$1" "docker-archive:$2:$1" ;;
    *) engine save --output "$2" "$1" ;;
    esac
}

# The digest of an image's configuration, which is another one for other content.
image_id() {
    case $IMAGE_ENGINE in
    buildah) engine inspect --type image --format '{{.FromImageID}}' "$1" ;;
    *) engine image inspect --format '{{.Id}}' "$1" ;;
    esac
}

# engine_import NAME TAR: an image of one layer.
engine_import() {
    local container
    case $IMAGE_ENGINE in
    buildah)
        container=$(engine from scratch)
        engine add --quiet "$container" "$2" / >/dev/null
        engine config --cmd /bin/bash "$container"
        engine commit --quiet --rm "$container" "$1" >/dev/null
        ;;
    *) engine import --change 'CMD ["/bin/bash"]' "$2" "$1" >/dev/null ;;
    esac
}

# --- images --------------------------------------------------------------------------------------------------------

# build_image NAME CONTEXT TAG [ARGUMENT=VALUE...]
build_image() {
    local image=$IMAGE_PREFIX/$1:$3 context=$2 archive=$IMAGE_OUTPUT/$1-$3.tar began=$SECONDS id
    shift 3
    say "building $image with $IMAGE_ENGINE"
    engine_build "$image" "$context/Dockerfile" "$context" "BASE=$BASE_IMAGE" "PROGRAMS=$(programs_image)" "$@" ||
        die "the image $image could not be built"
    # Engines build nothing anew that is the same; an archive of a gigabyte is not written anew either.
    id=$(image_id "$image")
    if [ -n "$id" ] && [ -e "$archive" ] && [ "$(cat "$archive.id" 2>/dev/null)" = "$id" ]; then
        say "$image is as it was: $archive"
        return
    fi
    rm -f "$archive.id" # of an archive that is half written nothing is known
    engine_save "$image" "$archive"
    echo "$id" >"$archive.id"
    say "$image after $((SECONDS - began)) s, $(du -m "$archive" | cut -f1) MiB: $archive"
}

programs_image() { echo "$IMAGE_PREFIX/programs:$IMAGE_TAG"; }

# Sets which programs of this repository, and of which packages, the images need.
programs_of() {
    local name
    PROGRAMS=() PROGRAM_PACKAGES=()
    for name in "$@"; do
        case $name in
        clone) PROGRAMS+=(wpclone-clone) PROGRAM_PACKAGES+=(wpclone-clone-image) ;;
        service)
            PROGRAMS+=(wpclone-api wpclone-worker wpclone-router)
            PROGRAM_PACKAGES+=(wpclone-api wpclone-worker wpclone-clone-router)
            ;;
        esac
    done
}

# Programs that are built on this machine run on the images' Debian when it is the machine's, too.
build_programs_image() {
    local profile=${WPCLONE_IMAGE_PROFILE:-release} folder context=$IMAGE_OUTPUT/programs program
    if ! grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release; then
        say "building the programs in an image of Rust's"
        engine_build "$(programs_image)" programs-image/Dockerfile . \
            "PROGRAMS=${PROGRAMS[*]}" "PACKAGES=${PROGRAM_PACKAGES[*]}"
        return
    fi
    install_packages
    install_rust
    say "building the programs"
    # shellcheck disable=SC2046 # words
    cargo build --quiet --locked --profile "$profile" $(printf -- '--package %s ' "${PROGRAM_PACKAGES[@]}")
    folder=$(target)/$profile
    if [ "$profile" = dev ]; then folder=$(target)/debug; fi
    rm -rf "$context"
    mkdir -p "$context"
    for program in "${PROGRAMS[@]}"; do strip -o "$context/$program" "$folder/$program"; done
    printf 'FROM scratch\nCOPY wpclone-* /\n' >"$context/Dockerfile"
    engine_build "$(programs_image)" "$context/Dockerfile" "$context"
    rm -rf "$context"
}

build_clone_images() {
    local context=$IMAGE_OUTPUT/clone php
    rm -rf "$context"
    cp -a clone-image "$context"
    wordpress_of_clones "$context/wordpress"
    for php in ${WPCLONE_IMAGE_PHP:-8.2}; do
        build_image clone "$context" "$IMAGE_TAG-php$php" "PHP=$php"
    done
    rm -rf "$context"
}

# Puts WordPress into a new folder.
wordpress_of_clones() {
    local to=$1 from=${WPCLONE_WORDPRESS:-} archive
    case $from in
    "")
        [ -e "$CACHE/wordpress/trixie/wp-load.php" ] || wordpress trixie
        cp -a "$CACHE/wordpress/trixie" "$to"
        ;;
    https://*)
        [ -n "${WPCLONE_WORDPRESS_SHA256:-}" ] || die "WPCLONE_WORDPRESS_SHA256 has to be the archive's checksum"
        archive=$IMAGE_OUTPUT/wordpress.tar.gz
        say "fetching $from"
        curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --output "$archive" "$from"
        echo "$WPCLONE_WORDPRESS_SHA256  $archive" | sha256sum --check --quiet || die "that is another archive than expected"
        mkdir "$to"
        tar --extract --gzip --file "$archive" --directory "$to" --strip-components 1 --no-same-owner
        rm "$archive"
        ;;
    *) cp -aL "$from" "$to" ;;
    esac
}

# --- the base image ------------------------------------------------------------------------------------------------

# The image that all others begin with: pulled, or else made from Debian's packages.
ensure_base_image() {
    has_image "$BASE_IMAGE" && return
    if engine pull "$BASE_IMAGE" >/dev/null 2>&1; then return; fi
    say "$BASE_IMAGE cannot be pulled here: $OWN_BASE_IMAGE takes its place"
    BASE_IMAGE=$OWN_BASE_IMAGE
    has_image "$BASE_IMAGE" && return
    install_missing mmdebstrap
    make_base_archive "$IMAGE_OUTPUT/base.tar"
    engine_import "$BASE_IMAGE" "$IMAGE_OUTPUT/base.tar"
    rm "$IMAGE_OUTPUT/base.tar"
}

# As small as the image of that name, and with the suite of security updates, from the machine's own mirrors.
make_base_archive() {
    local mirror security path options=()
    # shellcheck disable=SC2016 # apt's own placeholders
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        sed -n 's/ Debian Debian$//p' | head -n 1)
    # shellcheck disable=SC2016
    security=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        sed -n 's/ Debian Debian-Security$//p' | head -n 1)
    if [ -z "$mirror" ] || [ -z "$security" ]; then die "apt knows no mirror of Debian, or none of its security updates"; fi
    for path in man doc locale info; do options+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
    options+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')
    mmdebstrap --quiet --variant=minbase "${options[@]}" bookworm "$1" \
        "deb $mirror bookworm main" "deb $mirror bookworm-updates main" "deb $security bookworm-security main" ||
        die "the base image could not be made"
}
