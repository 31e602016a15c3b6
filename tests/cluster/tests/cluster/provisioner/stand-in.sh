#!/busybox sh
# In place of the image of clones: it takes the same commands and mounts, and serves no WordPress.
set -e
case $1 in
setup)
    /busybox test -r /etc/wpclone-setup/setup.json
    /busybox touch /srv/www/wordpress/index.html /srv/login/key
    ;;
serve)
    /busybox test -r /etc/wpclone/wp-config.php -a -r /etc/wpclone/php.ini
    /busybox mkdir -p /tmp/www/.wpclone
    echo ready >/tmp/www/.wpclone/ready
    exec /busybox httpd -f -p 8080 -h /tmp/www
    ;;
esac
