# What the tests do in a container of the image's files; each test calls some of it.

prepare() {
    # When an image is built the root can be written: `prepare` makes what lies in /opt, which later containers have.
    wpclone-clone prepare /run/wordpress-source
}

setup() {
    # The image has this file; this container's folder is new.
    echo "<?php require '/etc/wpclone/wp-config.php';" >/srv/www/wp-config.php
    wpclone-clone setup
}

serve() {
    wpclone-clone serve &
    SERVER=$!
    local end=$((SECONDS + 100))
    until wpclone-clone check 2>/dev/null; do
        kill -0 $SERVER
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# fetch NAME PATH [OPTION...]
fetch() {
    local name=$1 path=$2
    shift 2
    curl --silent --max-time 100 --path-as-is --header "Host: ${HOST:-c.example}" --output "/run/out/$name.body" \
        --write-out '%{http_code}' "$@" "http://127.0.0.1:8080$path" >"/run/out/$name.status"
}

fetch_pages() {
    echo '<?php echo ini_get( "memory_limit" ), " ", PHP_VERSION;' >/srv/www/wordpress/limits.php
    fetch front "/$NAME/"
    fetch ready /.wpclone/ready
    fetch rest "/$NAME/wp-json/"
    fetch limits "/$NAME/limits.php"
    fetch config "/$NAME/wp-config.php"
    fetch version "/$NAME/wp-includes/version.php"
    fetch encoded "/$NAME/..%2fwp-config.php"
    fetch uploaded "/$NAME/wp-content/uploads/uploaded.txt"
    HOST=other.example fetch other-host "/$NAME/"
}

# Cookies are for https, which ends in front of the clone.
log_in() {
    local cookies
    fetch login "/$NAME/wp-login.php" --data-urlencode log=boss --data-urlencode "pwd=a password" --dump-header /run/headers
    cookies=$(sed -n 's/^set-cookie: \([^;]*\);.*/\1/Ip' /run/headers | paste -sd ';')
    fetch admin "/$NAME/wp-admin/" --header "Cookie: $cookies"
}

upload() {
    cat >/srv/www/wordpress/upload.php <<'PHP'
<?php
move_uploaded_file( $_FILES['file']['tmp_name'], __DIR__ . '/wp-content/uploads/uploaded.txt' );
readfile( __DIR__ . '/wp-content/uploads/uploaded.txt' );
PHP
    echo "file uploads work" >/run/file
    fetch upload "/$NAME/upload.php" --form file=@/run/file
}

kill_php_fpm() { kill "$(pgrep -o php-fpm)"; }
