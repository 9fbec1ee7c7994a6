#!/usr/bin/env bash
# Everything that a team needs on one machine, without Docker: PostgreSQL (Debian's), a Prefect server, Label Studio where
# it is installed, a worker for each GPU, the dashboard. All on loopback; Ctrl-C or SIGTERM ends all of it.
#
#   deploy/team.sh FILE [DIR]
#
# FILE is the schedule, as `cleaner serve` takes it. DIR, ./team unless given, gets databases and logs; they are there again
# the next time. From the environment:
#
#   BIN                 where cleaner and prefect are installed; those on PATH unless given
#   LABEL_STUDIO        the program label-studio; the one on PATH unless given, none where there is none
#   LABEL_STUDIO_API_KEY, LABEL_STUDIO_USERNAME, LABEL_STUDIO_PASSWORD    of its first user; the key has 40 hex digits
#   PREFECT_PORT=4200 POSTGRES_PORT=5433 LABEL_STUDIO_PORT=8080 DASHBOARD_PORT=8501
#   POSTGRES_DIR        where PostgreSQL's files lie; DIR/postgres unless given
#   WORKERS             how many workers where there is no GPU; 1 unless given
set -euo pipefail
# Each process in a group of its own, which does not ignore SIGINT as what a script starts behind it does.
set -m

[ $# -ge 1 ] || {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
file=$(realpath "$1")
dir=$(realpath -m "${2:-team}")
bin=${BIN:+$(realpath "$BIN")/}
label_studio=$(command -v "${LABEL_STUDIO:-label-studio}" || true)
label_studio=${label_studio:+$(realpath -s "$label_studio")}
database=$(realpath -m "${POSTGRES_DIR:-$dir/postgres}")
prefect_port=${PREFECT_PORT:-4200} postgres_port=${POSTGRES_PORT:-5433}
label_studio_port=${LABEL_STUDIO_PORT:-8080} dashboard_port=${DASHBOARD_PORT:-8501}

die() {
  echo "team.sh: $*" >&2
  exit 2
}

[ -f "$file" ] || die "$file: no such file; give a schedule"
[ -z "${LABEL_STUDIO:-}" ] || [ -n "$label_studio" ] || die "LABEL_STUDIO=$LABEL_STUDIO: no such program"
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -n "$postgres" ] || die "no PostgreSQL; install it: apt-get install postgresql"
if [ -n "$label_studio" ]; then
  : "${LABEL_STUDIO_API_KEY:?Label Studio is installed; set LABEL_STUDIO_API_KEY to 40 hex digits of your own, the token of its first user}"
  : "${LABEL_STUDIO_USERNAME:?set LABEL_STUDIO_USERNAME to the mail address of its first user}"
  : "${LABEL_STUDIO_PASSWORD:?set LABEL_STUDIO_PASSWORD to the password of its first user}"
fi
mkdir -p "$dir/logs"
cd "$dir"

# PostgreSQL refuses to be root.
as_postgres=()
if [ "$(id -u)" = 0 ]; then
  as_postgres=(runuser -u postgres --)
  mkdir -p "$database" && chown postgres "$database"
  "${as_postgres[@]}" test -x "$database" || die "the user postgres can't get at $database; set POSTGRES_DIR to where it can"
fi

pg() { # PROGRAM OPTION...
  (cd / && "${as_postgres[@]}" "$postgres/$1" "${@:2}")
}

started=()
stop() {
  trap - EXIT INT TERM
  # Workers first: they tell the server how their runs ended.
  for ((number = ${#started[@]} - 1; number >= 0; number--)); do
    kill -TERM "${started[number]}" 2>/dev/null || true
    wait "${started[number]}" 2>/dev/null || true
  done
  pg pg_ctl stop -D "$database/data" -m fast >/dev/null 2>&1 || true
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

start() { # NAME COMMAND...: in the background, again when it has ended, its output in a log of its own
  local name=$1
  shift
  (
    set +e -m
    trap 'trap - EXIT; kill -TERM "$child" 2>/dev/null; wait "$child"; exit 0' TERM
    trap - EXIT INT
    while began=$SECONDS; do
      "$@" >>"logs/$name.log" 2>&1 </dev/null &
      child=$!
      wait "$child"
      # What ends as soon as it has begun would do so again.
      ((SECONDS - began < 20)) && exit 1
      echo "$(date --iso-8601=seconds) $name has ended; it is started again" | tee -a "logs/$name.log"
    done
  ) &
  started+=($!)
}

until_it_answers() { # NAME ADDRESS
  for ((second = 0; second < 300; second++)); do
    curl --silent --fail --noproxy '*' --max-time 2 --output /dev/null "$2" && return
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 1
  done
  tail -n 20 "logs/$1.log" >&2
  die "$1 does not start; see $dir/logs/$1.log"
}

export DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY=false
export PREFECT_HOME="$dir/prefect" PREFECT_API_URL="http://127.0.0.1:$prefect_port/api"
# Whoever can speak to a Prefect server can run commands by it.
[ -s login ] || (umask 077 && printf 'cleaner:%s\n' "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >login)
PREFECT_API_AUTH_STRING=$(cat login)
export PREFECT_API_AUTH_STRING

if [ ! -f "$database/data/PG_VERSION" ]; then
  rm -rf "$database/data"
  pg initdb -D "$database/data" -A trust -U prefect -E UTF8 >logs/postgres.log
fi
pg pg_ctl start -w -D "$database/data" -l "$database/log" \
  -o "-p $postgres_port -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" >>logs/postgres.log ||
  die "PostgreSQL does not start; see $database/log"

PREFECT_API_DATABASE_CONNECTION_URL="postgresql+asyncpg://prefect@127.0.0.1:$postgres_port/postgres" \
  PREFECT_SERVER_API_AUTH_STRING="$PREFECT_API_AUTH_STRING" \
  PREFECT_SERVER_CORS_ALLOWED_ORIGINS="http://127.0.0.1:$prefect_port,http://localhost:$prefect_port" \
  start prefect "${bin}prefect" server start --host 127.0.0.1 --port "$prefect_port"
until_it_answers prefect "http://127.0.0.1:$prefect_port/api/ready"
echo "Prefect's page: http://127.0.0.1:$prefect_port"
echo "it lets in who gives it what stands in $dir/login"

if [ -n "$label_studio" ]; then
  export LABEL_STUDIO_URL="http://127.0.0.1:$label_studio_port"
  LABEL_STUDIO_BASE_DATA_DIR="$dir/label-studio" LABEL_STUDIO_USER_TOKEN="$LABEL_STUDIO_API_KEY" \
    LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true COLLECT_ANALYTICS=false SENTRY_DSN='' FRONTEND_SENTRY_DSN='' \
    LATEST_VERSION_CHECK=false \
    start label-studio "$label_studio" start --no-browser --internal-host 127.0.0.1 --port "$label_studio_port"
  until_it_answers label-studio "$LABEL_STUDIO_URL/health"
  echo "Label Studio: $LABEL_STUDIO_URL"
fi

start watch "${bin}cleaner" deploy "$file" --watch

gpus=$(nvidia-smi --query-gpu=uuid --format=csv,noheader 2>/dev/null || true)
if [ -n "$gpus" ]; then
  for gpu in $gpus; do
    CUDA_VISIBLE_DEVICES=$gpu start "worker-$gpu" "${bin}prefect" worker start --pool cleaner --name "$gpu"
  done
else
  for ((number = 1; number <= ${WORKERS:-1}; number++)); do
    start "worker-$number" "${bin}prefect" worker start --pool cleaner --name "worker-$number"
  done
fi

start dashboard "${bin}cleaner" ui "$(dirname "$file")" --port "$dashboard_port" --no-browser
until_it_answers dashboard "http://127.0.0.1:$dashboard_port/_stcore/health"
echo "the dashboard: http://127.0.0.1:$dashboard_port"
echo "all is up; Ctrl-C ends it"
wait "${started[@]}"
