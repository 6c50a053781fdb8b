"""The loopback telephone network: a carrier made of software, in which no real telephone ever rings."""

from service.loopback.network import LoopbackNetwork
from service.loopback.server import LoopbackServer, create_app

__all__ = ["LoopbackNetwork", "LoopbackServer", "create_app"]
