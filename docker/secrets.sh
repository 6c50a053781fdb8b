#!/bin/sh
# Makes docker/secrets/: passwords, database addresses and the key-encryption key. Never overwrites one.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

keep() { # keep NAME VALUE
    [ -e "$1" ] || { printf '%s\n' "$2" > "$1"; echo "made docker/secrets/$1"; }
}
keep database_password "$(openssl rand -hex 24)"
keep keys_password "$(openssl rand -hex 24)"
keep database_url "postgresql://ansim:$(cat database_password)@postgres/ansim"
keep keys_url "postgresql://ansim_keys:$(cat keys_password)@postgres/ansim_keys"
keep kek "$(openssl rand -base64 32)"
[ -e twilio_auth_token ] || { : > twilio_auth_token; echo "fill in docker/secrets/twilio_auth_token"; }

# The containers' own users must read these; the folder stays closed to everybody else on this machine.
chmod 0444 -- *
echo "Keep a copy of docker/secrets/kek offline: without it nothing can be read again."
