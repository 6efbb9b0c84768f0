# What every machine of the cluster has to agree on; read by head.sh and worker.sh.
# A value that is set beforehand stays.

# Who may talk to Ray: a secret that all machines share, in a file of mode 600.
#   (umask 077; openssl rand -hex 32 > ~/.ray/auth_token)
export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
if [ "$RAY_AUTH_MODE" = token ] && [ -z "${RAY_AUTH_TOKEN:-}" ]; then
  export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
  if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
    echo "$RAY_AUTH_TOKEN_PATH is missing. On one machine: (umask 077; mkdir -p ~/.ray; openssl rand -hex 32 > $RAY_AUTH_TOKEN_PATH); then copy it to the others." >&2
    exit 1
  fi
fi

# A node counts as lost after 3 checks in a row that fail or take 5 s, one every 2 s: 6 s where
# its connections are refused, 21 s where it is silent. Ray waits 15 and 65 s by default, too long
# for workers that wait for each other in a collective; a node busy with training answers in time.
export RAY_health_check_period_ms="${RAY_health_check_period_ms:-2000}"
export RAY_health_check_timeout_ms="${RAY_health_check_timeout_ms:-5000}"
export RAY_health_check_failure_threshold="${RAY_health_check_failure_threshold:-3}"

# Ray's control service keeps a hundred thousand of each by default, some hundred MiB.
export RAY_task_events_max_num_task_in_gcs="${RAY_task_events_max_num_task_in_gcs:-10000}"
export RAY_maximum_gcs_destroyed_actor_cached_count="${RAY_maximum_gcs_destroyed_actor_cached_count:-1000}"

# HAProxy in front of the API, as `aiforge up` has it on one machine.
export RAY_SERVE_ENABLE_HA_PROXY="${RAY_SERVE_ENABLE_HA_PROXY:-1}"
export RAY_SERVE_THROUGHPUT_OPTIMIZED="${RAY_SERVE_THROUGHPUT_OPTIMIZED:-1}"

export RAY_TRAIN_V2_ENABLED=1 RAY_CHDIR_TO_TRIAL_DIR=0 RAY_DEDUP_LOGS=1
export TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
