"""The ``ansim`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from service import adapters
from service.app import build_house, start_logging
from service.config import ConfigError, Settings
from service.jobs import Jobs
from service.keystore import KeyStoreUnreachable
from service.loopback.__main__ import main as loopback_main
from service.sealing import SealingError
from service.store import schema
from service.tools import bench, cohort, demo, doctor, enrol, evaluate, fit, replay, verify, watchdog
from service.tools.serve import serve
from service.tools.torture import run as torture
from service.workflows import people, site

OK, NOT_MET, USAGE, ENVIRONMENT = 0, 1, 2, 3
Command = Callable[[argparse.Namespace, Settings], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 met or ok, 1 not met, 2 usage, 3 environment."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["loopback"]:
        return loopback_main(words[1:])
    given = parser().parse_args(words)
    try:
        settings = Settings.from_env(os.environ)
        start_logging(settings)
        command: Command = given.command
        return command(given, settings)
    except (ConfigError, SealingError, KeyStoreUnreachable, doctor.NotReady) as error:
        sys.stderr.write(f"ansim: {error}\n")
        return ENVIRONMENT
    except KeyboardInterrupt:
        return ENVIRONMENT


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="ansim",
        description="Watches over older people who live alone, and gets a human being to them.",
    )
    commands = top.add_subparsers(required=True)

    def add(name: str, text: str, command: Command) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command)
        return one

    add("demo", "everything at once, with simulated people and loopback telephones", demo.run)
    add("serve", "the web service", run_serve)
    add("jobs", "the ticker that takes due steps and sends messages", run_jobs)
    add("watchdog", "a process of its own that rings a human when the service or its jobs stop", watchdog.run)
    initial = add("init", "make or upgrade the database; optionally the first organisation and operator", run_init)
    initial.add_argument("--organisation", help="name of the first organisation")
    initial.add_argument("--operator", help="log-in name of its first operator (a password is printed once)")
    examine = add("doctor", "check settings, database, keys, carrier and fallback desk", doctor.run)
    examine.add_argument("--json", action="store_true")
    examine.add_argument("--ring-fallback", action="store_true", help="ring the fallback desk and verify it by a code")
    enrol.add_arguments(add("enrol", "make a one-time enrolment code for a patient's device", enrol.run))
    replay.add_arguments(add("replay", "replay recorded people over HTTP like any device", replay.run))
    bench.add_arguments(add("bench", "measure against a yardstick in the same run", bench.run))
    evaluate.add_arguments(
        add("evaluate", "measure every layer of detection on recordings, subject-wise, beside its goals", evaluate.run)
    )
    torture.add_arguments(
        add("torture", "kill, jam and unplug a service of its own under load, and count what it lost", torture.run)
    )
    fit.add_arguments(add("fit", "fit the models of detection on recordings, and sign them", fit.run))
    cohort.add_arguments(
        add("cohort", "try an escalation policy on simulated homes, or print its dry run", cohort.run)
    )
    verify.add_arguments(add("verify", "check offline that nothing signed or chained was changed since", verify.run))
    commands.add_parser("loopback", help="the loopback telephone network (see `ansim loopback --help`)")
    return top


def run_serve(_given: argparse.Namespace, settings: Settings) -> int:
    """Serve, if everything it needs for real people is there."""
    problems = settings.check_ready_to_serve()
    if problems:
        return _not_yet(problems)
    house = build_house(settings)
    schema.upgrade(house.database)
    if not settings.demo and not site.fallback_verified(house):
        problems.append(
            "the fallback desk's number is not verified: run `ansim doctor --ring-fallback` and type the code it hears"
        )
    house.database.dispose()
    if problems:
        return _not_yet(problems)
    serve(settings)
    return OK


def _not_yet(problems: list[str]) -> int:
    sys.stderr.write("ansim: cannot serve real people yet:\n" + "".join(f"  - {text}\n" for text in problems))
    return ENVIRONMENT


def run_jobs(_given: argparse.Namespace, settings: Settings) -> int:
    """Tick until told to stop."""
    house = build_house(settings)
    schema.upgrade(house.database)
    Jobs(house).run_until_stopped()
    return OK


def run_init(given: argparse.Namespace, settings: Settings) -> int:
    """Make the tables; with names, the first organisation and its operator."""
    house = build_house(settings)
    schema.upgrade(house.database)
    house.keys.check()
    if adapters.make_vapid_key(settings):
        print("the key for push messages is made: keep it with the other keys")
    print("database and keys are ready")
    if given.organisation or given.operator:
        login = given.operator or "operator"
        try:
            password, key = site.first_operator(house, given.organisation or "Ansim", login)
        except people.LoginTaken:
            sys.stderr.write(f"ansim: --operator must be a new log-in name, was {login!r}: choose another\n")
            return USAGE
        print(f"operator log-in: {login}  password (shown once): {password}")
        print(f"service key (shown once): {key}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
