#!/bin/sh
# Runs once, when PostgreSQL's folder is new. Creates a user and databases for MLflow, and others for Optuna.
set -eu
: "${MLFLOW_DB_PASSWORD:?}" "${OPTUNA_DB_PASSWORD:?}"
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv optuna_password OPTUNA_DB_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_auth OWNER mlflow;
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow, mlflow_auth, optuna FROM PUBLIC;
SQL
