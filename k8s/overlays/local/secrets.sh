#!/usr/bin/env bash
# Writes the Secrets of the overlay with random values, for `kubectl create --filename -`. Says the API's token on standard
# error; it is stored nowhere else. `create` refuses to replace Secrets: what is sealed with a lost key is lost.
set -euo pipefail

hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
base64_of() { head -c "$1" /dev/urandom | base64 -w 0; }
sha256() { printf '%s' "$1" | sha256sum | cut -d ' ' -f 1; }

# secret NAME: its content follows on standard input, as YAML.
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: wpclone\n' "$1"
    printf '  labels: {app.kubernetes.io/part-of: wpclone}\nstringData:\n'
    sed 's/^/  /'
}

token=$(hex 24) queue_token=$(hex 24) redis=$(hex 24) database=$(hex 24)

secret wpclone-service <<YAML
WPCLONE_REDIS_URL: redis://:$redis@wpclone-redis.wpclone.svc.cluster.local:6379/0
WPCLONE_SEAL_KEYS: local:$(base64_of 32)
WPCLONE_WEBHOOK_SECRETS: whsec_$(base64_of 32)
YAML
secret wpclone-tokens <<YAML
tokens: |
  admin:$(sha256 "$token"):operator
  autoscaler:$(sha256 "$queue_token"):metrics
YAML
secret wpclone-queue-token <<YAML
token: $queue_token
YAML
secret wpclone-redis <<YAML
redis.conf: |
  requirepass $redis
  dir /data
  save ""
  appendonly yes
  appendfsync always
  maxmemory-policy noeviction
YAML
secret wpclone-database <<YAML
WPCLONE_DATABASE_URL: mysql://wpclone:$database@wpclone-database.wpclone.svc.cluster.local:3306
init.sql: |
  CREATE USER IF NOT EXISTS 'wpclone'@'%' IDENTIFIED BY '$database';
  GRANT CREATE USER, CONNECTION ADMIN, PROCESS ON *.* TO 'wpclone'@'%';
  GRANT ALL PRIVILEGES ON \`clone-%\`.* TO 'wpclone'@'%' WITH GRANT OPTION;
YAML
echo "WPCLONE_TOKEN=$token" >&2
