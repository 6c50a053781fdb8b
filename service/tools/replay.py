"""Replaying recorded people over HTTP."""

from __future__ import annotations

import argparse

from service.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file")


def run(given: argparse.Namespace, settings: Settings) -> int:
    raise SystemExit(2)
