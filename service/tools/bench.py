"""Measuring against a yardstick in the same run."""

from __future__ import annotations

import argparse

from service.config import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")


def run(given: argparse.Namespace, settings: Settings) -> int:
    raise SystemExit(2)
