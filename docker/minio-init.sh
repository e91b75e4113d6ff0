#!/bin/sh
# Runs at each start, in MinIO's own image. Creates a bucket for MLflow and one for studies, each with a user of the same
# name, who has all rights in this bucket and none elsewhere.
#
# MINIO_URL                            http://minio:9000
# MINIO_ROOT_USER, MINIO_ROOT_PASSWORD
# S3_MLFLOW_SECRET, S3_STUDIES_SECRET  the users' secret keys
set -eu
: "${MINIO_URL:?}" "${MINIO_ROOT_USER:?}" "${MINIO_ROOT_PASSWORD:?}" "${S3_MLFLOW_SECRET:?}" "${S3_STUDIES_SECRET:?}"

bucket() { # NAME SECRET
  mc mb --ignore-existing "store/$1"
  printf '%s\n%s\n' "$1" "$2" | mc admin user add store
  printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": %s}]}' \
    "[\"arn:aws:s3:::$1\", \"arn:aws:s3:::$1/*\"]" | mc admin policy create store "only-$1" /dev/stdin
  user="$(mc admin user info store "$1")"
  case "${user}" in
    *"only-$1"*) ;; # some versions refuse a policy that is already attached
    *) mc admin policy attach store "only-$1" --user "$1" ;;
  esac
}

# Secrets are printed by the shell itself and read by mc from its input: no command line shows them.
printf '%s\n%s\n' "${MINIO_ROOT_USER}" "${MINIO_ROOT_PASSWORD}" | mc alias set store "${MINIO_URL}"
bucket mlflow "${S3_MLFLOW_SECRET}"
bucket studies "${S3_STUDIES_SECRET}"
