"""``python -m service.loopback``: the loopback telephone network as a process of its own."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import sys
from collections.abc import Sequence

from service.loopback.calls import new_sid
from service.loopback.network import LoopbackNetwork
from service.loopback.phones import Behaviour
from service.loopback.server import LoopbackServer
from service.stopping import Stop

ACCOUNT_ENV = "ANSIM_LOOPBACK_ACCOUNT_SID"
TOKEN_ENV = "ANSIM_LOOPBACK_AUTH_TOKEN"
SOLAPI_ENVS = ("ANSIM_LOOPBACK_SOLAPI_KEY", "ANSIM_LOOPBACK_SOLAPI_SECRET", "ANSIM_LOOPBACK_SOLAPI_WEBHOOK_SECRET")
"""From the environment only: what stands in a command line can be read by everybody on the machine."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="ansim loopback",
        description="The loopback telephone network: it speaks the carrier's REST API. No real phone rings.",
    )
    words.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    words.add_argument("--port", type=int, default=0, help="port; 0 picks a free one (default)")
    account, token = os.environ.get(ACCOUNT_ENV), os.environ.get(TOKEN_ENV)
    words.add_argument("--account-sid", default=account, help=f"or ${ACCOUNT_ENV}; new if none")
    words.add_argument("--auth-token", default=token, help=f"or ${TOKEN_ENV}; new if none")
    words.add_argument("--voice-url", help="where a call to our number is announced")
    words.add_argument("--time-scale", type=float, default=1.0, help="divides all of its own delays")
    words.add_argument("--default-behaviour", default=str(Behaviour.NO_ANSWER), help="of unknown telephones")
    return words


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 2 on a wrong value, 3 when the port is taken."""
    given = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    solapi_key, solapi_secret, solapi_webhook_secret = (
        os.environ.get(name) or secrets.token_hex(16) for name in SOLAPI_ENVS
    )
    try:
        network = LoopbackNetwork(
            given.account_sid or new_sid("AC"),
            given.auth_token or secrets.token_hex(16),
            voice_url=given.voice_url,
            time_scale=given.time_scale,
            default_behaviour=given.default_behaviour,
            solapi_key=solapi_key,
            solapi_secret=solapi_secret,
            solapi_webhook_secret=solapi_webhook_secret,
        )
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        server = LoopbackServer(network, given.host, given.port)
    except (OSError, SystemExit):
        # werkzeug leaves the process, after explaining itself, when the port is taken
        network.close()
        return 3
    stop = Stop()
    ready = {"url": server.url, "account_sid": network.account_sid, "auth_token": network.auth_token}
    ready |= {"solapi_key": solapi_key, "solapi_secret": solapi_secret, "solapi_webhook_secret": solapi_webhook_secret}
    with server:
        sys.stdout.write(f"LOOPBACK_READY {json.dumps(ready)}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
