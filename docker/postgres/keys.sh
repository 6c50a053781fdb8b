#!/bin/sh
# Runs once, when the database server is new: the key store's own database, closed to the other role.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
     --set password="$(cat /run/secrets/keys_password)" <<'SQL'
CREATE ROLE ansim_keys LOGIN PASSWORD :'password';
CREATE DATABASE ansim_keys OWNER ansim_keys;
REVOKE CONNECT ON DATABASE ansim_keys FROM PUBLIC;
REVOKE CONNECT ON DATABASE ansim FROM PUBLIC;
SQL
