# shellcheck shell=bash
# Sourced by ./dev: installs what a bare Debian 12 lacks.

# --- what a bare machine lacks -----------------------------------------------------------------------------------

PACKAGES=(
    ca-certificates curl openssl                                        # fetching; certificates of test sites
    gcc libc6-dev                                                       # a linker for Rust, C parts of crates
    g++                                                                 # what fuzz targets are driven by
    redis-server                                                        # the queue
    chromium chromium-headless-shell chromium-driver chromium-sandbox   # the browser
    fonts-dejavu-core fonts-noto-core                                   # so that screenshots have letters
    mariadb-server nginx php-fpm php-cli                                # what a WordPress runs on
    bubblewrap                                                          # what a clone is confined in
    strace                                                              # delays of a disk, in tests
    php-curl php-gd php-intl php-mbstring php-mysql php-sqlite3 php-xml php-zip
    python3-venv                                                        # what schemathesis runs on
)

install_packages() {
    local wanted=("${PACKAGES[@]}")
    # These two also come from elsewhere than Debian.
    command -v node >/dev/null || wanted+=(nodejs)
    command -v npm >/dev/null || wanted+=(npm)
    install_missing "${wanted[@]}"
}

# install_missing PACKAGE...
install_missing() {
    local missing=() have package
    command -v dpkg-query >/dev/null || die "this is not Debian; install by hand: $*"
    have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        grep -qx "$package installed" <<<"$have" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing Debian packages: ${missing[*]}"
    install_without_services "${missing[@]}"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts and enables a service as soon as its package is there. Ours are started by us, when we want them.
install_without_services() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "needs root or sudo to install: $*"
    as_root bash -euo pipefail -s -- "$@" <<'ROOT'
policy=/usr/sbin/policy-rc.d aside=/usr/sbin/policy-rc.d.before-wpclone
restore() {
    rm -f "$policy"
    if [ -e "$aside" ]; then mv "$aside" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT TERM
# A left-over of ours, from a run that was killed, is not to be kept as the machine's own.
if [ -e "$policy" ] && ! grep -q 'wpclone' "$policy"; then mv "$policy" "$aside"; fi
printf '#!/bin/sh\n# put here by wpclone for the length of one installation\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -q </dev/null
apt-get install -yq --no-install-recommends -- "$@" </dev/null
command -v systemctl >/dev/null || exit 0
for package in "$@" $(dpkg-query -W -f '${Package} ' 'php*-fpm' nginx-common 2>/dev/null); do
    for unit in $(dpkg -L "$package" 2>/dev/null | sed -n 's,.*/systemd/system/\([^/@]*\.service\)$,\1,p'); do
        # Only what this installation brought: a service that runs is its owner's.
        systemctl is-active --quiet "$unit" 2>/dev/null || systemctl disable --quiet "$unit" 2>/dev/null || true
    done
done
ROOT
}

install_rust() {
    local want home
    want=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    home=$(rustc --print sysroot 2>/dev/null || true)
    [ -x "$home/bin/clippy-driver" ] && [ -x "$home/bin/rustfmt" ] && rustc --version | grep -qF "rustc $want " && return
    if ! command -v rustup >/dev/null; then
        say "installing rustup, for your user, into ${CARGO_HOME:-$HOME/.cargo}"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --no-modify-path --profile minimal --default-toolchain none
    fi
    say "installing Rust $want with clippy and rustfmt"
    rustup toolchain install "$want" --profile minimal --component clippy --component rustfmt
}

install_cargo_deny() {
    [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ] && return
    say "building cargo-deny $CARGO_DENY into $CACHE/tools (once; some minutes)"
    cargo install --quiet --debug --locked --root "$CACHE/tools" --version "$CARGO_DENY" cargo-deny
}

install_cargo_fuzz() {
    [ "$(cargo-fuzz --version 2>/dev/null)" = "cargo-fuzz $CARGO_FUZZ" ] && return
    say "building cargo-fuzz $CARGO_FUZZ into $CACHE/tools (once; a minute)"
    cargo install --quiet --debug --locked --root "$CACHE/tools" --version "$CARGO_FUZZ" cargo-fuzz
}

# Makes requests of the API from its own document. In a folder of its own, pinned with all it needs.
install_schemathesis() {
    local wanted=api/tests/schemathesis/requirements.txt home=$CACHE/tools/schemathesis
    cmp -s "$wanted" "$home/requirements.txt" && return
    say "installing schemathesis into $home"
    rm -rf "$home"
    python3 -m venv "$home" &&
        "$home/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$wanted" &&
        cp "$wanted" "$home/"
}

# --- from Debian's other suites: WordPress, of three releases, Valkey and MySQL ----------------------------------------

install_wordpress() {
    local suite
    for suite in bookworm trixie sid; do
        [ -e "$CACHE/wordpress/$suite/wp-load.php" ] || wordpress "$suite"
    done
}

wordpress() {
    local suite=$1 theme=wordpress-theme-twentytwentyfive
    [ "$suite" = bookworm ] && theme=wordpress-theme-twentytwentythree
    say "fetching WordPress of Debian $suite"
    begin_staging "$CACHE/wordpress"
    # Debian's WordPress links into the libraries it shares with others.
    unpack_debs "$suite" wordpress wordpress-l10n $theme php-getid3 libphp-phpmailer \
        libjs-underscore libjs-cropper libjs-lodash libjs-jquery-ui
    plain_tree "$STAGING/root/usr/share/wordpress" "$STAGING/tree"
    commit_staging "$CACHE/wordpress/$suite"
}

# Debian has Valkey from trixie on. It comes with the libraries it needs, and the loader that they need.
install_valkey() {
    [ -x "$CACHE/valkey/valkey-server" ] && return
    say "fetching Valkey of Debian trixie"
    begin_staging "$CACHE"
    unpack_debs trixie valkey-server valkey-tools libatomic1 libc6 libcap2 libgcc-s1 libjemalloc2 liblzf1 libssl3t64 \
        libstdc++6 libsystemd0 libzstd1 zlib1g
    with_loader usr/bin/valkey-server
    "$STAGING/tree/valkey-server" --version >/dev/null || die "the Valkey that was fetched does not run here"
    commit_staging "$CACHE/valkey"
}

# Debian has MySQL in sid alone, which moves on: where a library's name has a number that changes, it is a pattern.
install_mysql() {
    [ -x "$CACHE/mysql/mysqld" ] && return
    say "fetching MySQL of Debian sid"
    begin_staging "$CACHE"
    unpack_debs sid mysql-server-core '^libaio1(t64)?$' libc6 libgcc-s1 '^libgoogle-perftools4(t64)?$' '^libicu[0-9]+$' \
        liblz4-1 liblzma5 libnuma1 '^libprotobuf-lite[0-9]+(t64)?$' '^libssl[0-9]+(t64)?$' libstdc++6 libunwind8 libxxhash0 libzstd1 zlib1g
    with_loader usr/sbin/mysqld
    # Its messages and charsets, where it looks for them: beside the folder of the program.
    mkdir -p "$STAGING/tree/share/mysql"
    cp -a "$STAGING/root/usr/share/mysql"/{charsets,english} "$STAGING/tree/share/mysql/"
    "$STAGING/tree/mysqld" --no-defaults --version >/dev/null || die "the MySQL that was fetched does not run here"
    commit_staging "$CACHE/mysql"
}

# Puts a program of $STAGING/root into $STAGING/tree, all libraries beside it, and a script that starts it with them.
with_loader() {
    local name
    name=$(basename "$1")
    mkdir -p "$STAGING/tree"/{bin,lib}
    cp -L "$STAGING/root/$1" "$STAGING/tree/bin/"
    find "$STAGING/root/usr/lib" -maxdepth 2 -name '*.so*' -exec cp -a {} "$STAGING/tree/lib/" \;
    cat >"$STAGING/tree/$name" <<'SH'
#!/bin/sh
self=$(readlink -f "$0")
here=$(dirname "$self")
exec "$here"/lib/ld-linux-*.so.* --library-path "$here/lib" "$here/bin/$(basename "$self")" "$@"
SH
    chmod 755 "$STAGING/tree/$name"
}

# A folder to make something in, beside where it is to be: gone however we end.
begin_staging() {
    mkdir -p "$1"
    STAGING=$(mktemp -d "$1/.staging-XXXXXX")
    # shellcheck disable=SC2064 # the folder of this call
    trap "rm -rf '$STAGING'" EXIT
}

# What was made in $STAGING/tree goes to its place.
commit_staging() {
    rm -rf "$1"
    mv "$STAGING/tree" "$1"
    rm -rf "$STAGING"
    trap - EXIT
}

# Unpacks packages of a suite below $STAGING/root. An apt of its own: it knows only this suite, touches nothing of the
# machine's, and checks signatures and sums. A mirror that lags behind is good enough for what only tests see.
unpack_debs() {
    local suite=$1 mirror
    shift
    # shellcheck disable=SC2016 # apt's own placeholders
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        sed -n 's/ Debian Debian$//p' | head -n 1)
    [ -n "$mirror" ] || die "apt knows no Debian mirror; look at /etc/apt/sources.list"
    mkdir -p "$STAGING"/{lists,archives}/partial "$STAGING"/{debs,root}
    touch "$STAGING/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$STAGING/sources.list"
    cat >"$STAGING/apt.conf" <<CONF
Dir::Etc::sourcelist "$STAGING/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$STAGING/lists";
Dir::State::status "$STAGING/status";
Dir::Cache "$STAGING";
Dir::Cache::archives "archives";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "$(id -un)";
CONF
    (export APT_CONFIG=$STAGING/apt.conf && apt-get update -q && cd "$STAGING/debs" && apt-get download -q "$@") \
        >"$STAGING/log" 2>&1 || die "apt could not fetch it: $(tail -n 5 "$STAGING/log")"
    for deb in "$STAGING"/debs/*.deb; do dpkg -x "$deb" "$STAGING/root"; done
}

# One that no Debian has, from npm: a zip of PHP, and beside it the files that a browser asks for.
install_wordpress_6_5() {
    [ -e "$CACHE/wordpress/6.5/wp-load.php" ] && return
    say "fetching WordPress 6.5 from npm (158 MB)"
    begin_staging "$CACHE/wordpress"
    npm pack --silent --pack-destination "$STAGING" >/dev/null "@wp-playground/wordpress-builds@$WORDPRESS_BUILDS"
    tar -xzf "$STAGING"/*.tgz -C "$STAGING" package/src/wordpress/wp-6.5.zip package/public/wp-6.5
    # shellcheck disable=SC2016 # PHP's variables
    php -r '$zip = new ZipArchive; exit($zip->open($argv[1]) === true && $zip->extractTo($argv[2]) ? 0 : 1);' \
        "$STAGING/package/src/wordpress/wp-6.5.zip" "$STAGING/root"
    cp -a "$STAGING/package/public/wp-6.5/." "$STAGING/root"
    rm -rf "$STAGING/root/wp-content/database"
    plain_tree "$STAGING/root" "$STAGING/tree"
    commit_staging "$CACHE/wordpress/6.5"
}

# A tree as wordpress.org would ship it: no links, no configuration.
plain_tree() {
    rm -f "$1/.htaccess" "$1/wp-config.php"
    cp -aL "$1" "$2"
    mkdir -p "$2"/wp-content/{languages,plugins,uploads,upgrade}
}

install() {
    install_packages
    install_rust
    install_wordpress
}

