#!/bin/sh
# The MLflow server: runs and users in PostgreSQL, artifacts in an object store, every user signs in.
# Clients need no access to either: artifacts go through the server.
#
# MLFLOW_DATABASE, MLFLOW_AUTH_DATABASE  postgresql+psycopg2://user@host/name, without a password
# PGPASSWORD                      their password; not on any command line or in any file
# MLFLOW_ARTIFACTS                s3://bucket/folder
# MLFLOW_S3_ENDPOINT_URL          of an object store that is not Amazon's
# AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
# MLFLOW_AUTH_ADMIN_PASSWORD      of `admin`; used when the users' database is new
# MLFLOW_FLASK_SERVER_SECRET_KEY  signs the forms of the sign-up page
# MLFLOW_ALLOWED_HOSTS            names of the server, with ports: mlflow:5000,localhost:5000; others get 403
# MLFLOW_HOST, MLFLOW_PORT        127.0.0.1, 5000
set -eu
: "${MLFLOW_DATABASE:?}" "${MLFLOW_AUTH_DATABASE:?}" "${PGPASSWORD:?}" "${MLFLOW_ARTIFACTS:?}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?}" "${MLFLOW_FLASK_SERVER_SECRET_KEY:?}" "${MLFLOW_ALLOWED_HOSTS:?}"
export MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_ADMIN_PASSWORD
export MLFLOW_DISABLE_TELEMETRY=true
# Disables the processes for language models' judges and gateways, which are not used.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

MLFLOW_AUTH_CONFIG_PATH="$(mktemp)"
export MLFLOW_AUTH_CONFIG_PATH
cat >"${MLFLOW_AUTH_CONFIG_PATH}" <<EOF
[mlflow]
default_permission = READ
database_uri = ${MLFLOW_AUTH_DATABASE}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
EOF
# A browser sends the address of the page; without this, the run table is empty except on localhost.
origins="$(printf '%s' "${MLFLOW_ALLOWED_HOSTS}" | sed 's#[^,][^,]*#http://&,https://&#g')"
exec mlflow server --app-name basic-auth --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}" \
  --backend-store-uri "${MLFLOW_DATABASE}" --artifacts-destination "${MLFLOW_ARTIFACTS}" \
  --allowed-hosts "${MLFLOW_ALLOWED_HOSTS}" --cors-allowed-origins "${origins}" --workers "${MLFLOW_WORKERS:-2}"
