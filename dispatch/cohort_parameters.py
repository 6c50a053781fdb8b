"""The numbers behind the simulated cohort: read from a file that people can read, checked, and swept."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

SHIPPED = Path(__file__).with_name("cohort.toml")
KINDS = ("sos", "grave", "high", "medium")
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=10_000.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)]
Sigma = Annotated[float, msgspec.Meta(ge=0.0, le=3.0)]
Hour = Annotated[int, msgspec.Meta(ge=0, le=24)]
Shares = Annotated[tuple[Share, ...], msgspec.Meta(min_length=1, max_length=4)]


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sos: Rate
    grave: Rate
    high: Rate
    medium: Rate

    def of(self, kind: str) -> float:
        return float(getattr(self, kind))


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    night_from: Hour
    night_to: Hour
    false_at_night: Share

    def asleep(self, hour: float) -> bool:
        if self.night_from <= self.night_to:
            return self.night_from <= hour < self.night_to
        return hour >= self.night_from or hour < self.night_to


class PersonNumbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    may_not_cancel: Share
    voice_fails: Share
    well_answers: Share
    well_answers_asleep: Share
    band_answers: Share
    band_median_s: Seconds
    band_sigma: Sigma
    reach_median_s: Seconds
    reach_sigma: Sigma
    reach_asleep_s: Seconds
    menu_median_s: Seconds
    menu_sigma: Sigma
    well_says_fine: Share
    fresh_vitals: Share
    sos_answers: Share
    grave_answers: Share
    high_answers: Share
    medium_answers: Share
    ill_says_fine: Share
    ill_presses_nothing: Share
    ill_presses_ok: Share
    worse_vitals: Share


class ContactNumbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Shares
    relations: tuple[str, ...]
    share: Shares
    answers_night: Shares
    answers_work: Shares
    answers_evening: Shares
    same_again: Share
    pick_up_median_s: Seconds
    pick_up_sigma: Sigma
    takes: Share
    declines: Share
    wrong_number: Share
    voicemail: Share
    busy: Share
    switched_off: Share
    voicemail_after_s: Seconds
    detected: Share


class DeskNumbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    answers: Share
    pick_up_median_s: Seconds
    pick_up_sigma: Sigma
    takes: Share


class Verify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    contact: Share
    desk: Share
    silent_stays_silent: Share
    told_fine: Share
    decide_median_s: Seconds
    decide_sigma: Sigma
    reads_news: Share
    stands_down_wrongly: Share


class PeerLadder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    first_s: Seconds
    step_s: Seconds
    repeats: Annotated[int, msgspec.Meta(ge=1, le=20)]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the cohort assumes; ``cohort.toml`` says where each number comes from."""

    true_per_1000_years: Rates
    false_per_1000_days: Rates
    hours: Hours
    person: PersonNumbers
    contacts: ContactNumbers
    desk: DeskNumbers
    verify: Verify
    goalert_like: PeerLadder
    oncall_like: PeerLadder


class ParametersError(ValueError):
    """A parameter file that cannot be used: names the parameter, what was expected and what to do."""


def load(text: str | None = None, changes: dict[str, float] | None = None) -> Parameters:
    """Read the parameters.

    Parameters
    ----------
    text : str or None
        TOML as in ``cohort.toml``; None reads the shipped file.
    changes : dict or None
        Values to use instead, by ``section.name``.

    Raises
    ------
    ParametersError
        When something is missing, unknown or out of range.
    """
    try:
        found = tomllib.loads(SHIPPED.read_text("utf-8") if text is None else text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParametersError(f"the parameter file must be TOML: {error}; compare it with the shipped one") from error
    for name, value in (changes or {}).items():
        _set(found, name, value)
    try:
        checked = msgspec.convert(found, Parameters, strict=False)
    except msgspec.ValidationError as error:
        raise ParametersError(f"parameters: {error}; compare the file with the shipped cohort.toml") from error
    _sums(checked)
    return checked


def _set(found: dict[str, Any], name: str, value: float) -> None:
    section, _, key = name.partition(".")
    part = found.get(section)
    if not isinstance(part, dict) or not isinstance(part.get(key), int | float):
        known = ", ".join(f"{s}.{k}" for s, p in found.items() for k, v in p.items() if isinstance(v, int | float))
        raise ParametersError(f"parameter must be one of {known}; was {name!r}")
    part[key] = type(part[key])(value) if isinstance(part[key], int) else float(value)


def _sums(checked: Parameters) -> None:
    c, p = checked.contacts, checked.person
    for name, shares in (("contacts.count", c.count), ("contacts.share", c.share)):
        if abs(sum(shares) - 1.0) > 1e-6:
            raise ParametersError(f"{name} must sum to 1, was {sum(shares):g}: the shares are of all homes or contacts")
    lengths = {len(c.relations), len(c.share), len(c.answers_night), len(c.answers_work), len(c.answers_evening)}
    if len(lengths) != 1:
        raise ParametersError("contacts.relations, share and answers_* must have one value for each relation")
    for name, parts in (
        ("contacts.takes + declines", c.takes + c.declines),
        ("contacts.voicemail + busy + switched_off", c.voicemail + c.busy + c.switched_off),
        ("person.ill_says_fine + ill_presses_nothing", p.ill_says_fine + p.ill_presses_nothing),
    ):
        if parts > 1.0 + 1e-9:
            raise ParametersError(f"{name} must be at most 1, was {parts:g}: they are shares of the same calls")
