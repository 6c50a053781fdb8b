"""Enrolment codes from the command line."""

from __future__ import annotations

import argparse
import json
from uuid import UUID

from service.app import build_house
from service.config import Settings
from service.workflows import devices as device_flow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patient", type=UUID, help="the patient's id")
    parser.add_argument("--json", action="store_true")


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print a one-time code for one device of this patient."""
    try:
        code = device_flow.issue_code(build_house(settings), given.patient)
    except LookupError:
        print(f"patient must be the id of a patient here, was {given.patient}: see GET /v1/patients")
        return 2
    print(json.dumps({"patient": str(given.patient), "code": code}) if given.json else code)
    return 0
