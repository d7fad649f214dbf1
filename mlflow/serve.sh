#!/bin/sh
# MLflow for a team: runs and registry in PostgreSQL, artifacts in object storage. See README.md.
set -eu

missing() {
	echo "serve.sh: $1 is not set: $2" >&2
	exit 2
}

# Addresses hold passwords, so they come from the environment: a command line is read by everybody.
[ -n "${MLFLOW_BACKEND_STORE_URI:-}" ] ||
	missing MLFLOW_BACKEND_STORE_URI "such as postgresql+psycopg2://mlflow:PASSWORD@127.0.0.1:5432/mlflow"
[ -n "${MLFLOW_ARTIFACTS_DESTINATION:-}" ] ||
	missing MLFLOW_ARTIFACTS_DESTINATION "such as s3://BUCKET/mlflow"

export MLFLOW_HOST="${MLFLOW_HOST:-127.0.0.1}" MLFLOW_PORT="${MLFLOW_PORT:-5000}"
case $MLFLOW_HOST in
127.* | localhost | ::1) ;;
*)
	[ -n "${MLFLOW_SERVER_ALLOWED_HOSTS:-}" ] ||
		missing MLFLOW_SERVER_ALLOWED_HOSTS "the names by which others reach $MLFLOW_HOST"
	echo "serve.sh: whoever reaches $MLFLOW_HOST:$MLFLOW_PORT can change every model" >&2
	;;
esac

export DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec mlflow server --serve-artifacts --workers "${MLFLOW_WORKERS:-2}"
