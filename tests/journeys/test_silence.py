"""Silence: of a person, of a device and why, of a whole area, and ours; and signs that are only a line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from journey_marks import both_engines
from journey_people import Band, Home, Person
from journey_stage import Stage
from sqlalchemy import update

from dispatch import messages
from service.detection import layers
from service.detection.budget import Cause, code_key, in_force
from service.store import devices as device_store
from service.store import incidents as incident_store
from service.store import readings as readings_store
from service.store import site as site_store
from service.store.tables import Device, table
from service.workflows import memory, outages, people, ticking

HALF_HOUR_S = 1800


def family(stage: Stage, **care: Any) -> tuple[Home, Person]:
    daughter = stage.person("김민지")
    home = stage.home(daughter, **care)
    return home, daughter


def lives(home: Home, days: float = 3, place: str = "kitchen") -> None:
    """Motion at home every ten minutes of the days before, but for the nights; the last now."""
    band, now = home.band, home.band.stage.clock()
    events = []
    for ago in range(int(days * 144), -1, -1):
        local = now - timedelta(minutes=10 * ago) + timedelta(hours=9)
        if 7 <= local.hour < 22:
            events.append(band.event("motion", ago_s=600.0 * ago) | {"place": place})
    band.post(readings=events)


def hums(band: Band) -> None:
    """The home's sensors are alive and have seen nobody."""
    band.post(readings=[{"seq": band.take(), "at": band.told(), "battery_pct": 80}])


def quiet_until(stage: Stage, home: Home, code: str, within_s: float) -> float:
    """Let half hours pass, the sensors being alive, until a sign is open; how long it took."""
    start = stage.clock()
    while code not in stage.conditions(home):
        assert (stage.clock() - start).total_seconds() < within_s, stage.timeline()
        stage.clock.move_to(stage.clock() + timedelta(seconds=HALF_HOUR_S))
        hums(home.band)
    return (stage.clock() - start).total_seconds()


def sentence(stage: Stage, home: Home, code: str, language: str) -> str:
    [reason] = [r for r in stage.case(home).reasons if r.condition.code == code]
    return messages.reason_text(reason.condition, language, stage.clock())


# The person


@both_engines
def test_person_of_whom_nothing_is_seen_at_home_is_asked_and_then_contacts_ring(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.rings_out()
    daughter.phone.answers("3")
    lives(home)
    took = quiet_until(stage, home, "person_silent", 14 * 3600 + 600)
    assert took >= 1800
    stage.finish_calls()
    assert home.phone.rang >= 1
    assert stage.case(home).owner_id == daughter.id
    assert "움직임이 없습니다" in sentence(stage, home, "person_silent", "ko")


def test_motion_again_ends_the_sign_and_the_case_stays_with_a_person(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.rings_out()
    daughter.phone.answers("3")
    lives(home)
    quiet_until(stage, home, "person_silent", 14 * 3600 + 600)
    stage.finish_calls()
    home.band.post(readings=[home.band.event("motion") | {"place": "kitchen"}])
    assert "person_silent" not in stage.conditions(home)
    assert stage.case(home).open
    assert stage.case(home).owner_id == daughter.id


def test_who_is_away_is_not_missed_until_the_return_and_a_while(stage: Stage) -> None:
    home, daughter = family(stage)
    lives(home)
    back = stage.clock() + timedelta(hours=20)
    people.set_away(stage.house, home.id, back)
    for _ in range(43):
        stage.clock.move_to(stage.clock() + timedelta(seconds=HALF_HOUR_S))
        hums(home.band)
    assert stage.incidents(home) == []
    home.phone.rings_out()
    daughter.phone.answers("3")
    took = quiet_until(stage, home, "person_silent", 3 * 3600)
    assert stage.clock() - back >= timedelta(hours=2), took
    assert "때가 지남" in sentence(stage, home, "person_silent", "ko")
    stage.finish_calls()


def test_sensors_that_are_silent_themselves_tell_nothing_about_their_person(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.answers("1")
    daughter.phone.answers("3")
    lives(home)
    stage.desk.rings_out()
    for _ in range(20):
        stage.clock.move_to(stage.clock() + timedelta(seconds=HALF_HOUR_S))
        stage.settle()
    assert "device_silent" in stage.conditions(home)
    assert "person_silent" not in stage.conditions(home)
    stage.finish_calls()


def test_wearer_who_takes_the_band_off_is_not_silent(stage: Stage) -> None:
    home, _ = family(stage)
    home.band.measures(300, steps=1)
    home.band.presses("taken_off")
    for _ in range(30):
        stage.clock.move_to(stage.clock() + timedelta(seconds=HALF_HOUR_S))
        home.band.measures(10, heart_rate_bpm=None, pulse_rate_bpm=None, spo2_pct=None, worn=False,
                           respiratory_rate_bpm=None, steps=0)  # fmt: skip
    assert "person_silent" not in stage.conditions(home)
    assert stage.incidents(home) == []


def test_after_our_own_outage_nobody_is_missed_before_what_happened_meanwhile_has_come(stage: Stage) -> None:
    home, _ = family(stage)
    lives(home)
    ticking.beat(stage.house)
    stage.clock.move_to(stage.clock() + timedelta(hours=9))
    ticking.beat(stage.house)
    hums(home.band)
    stage.advance(120)
    assert stage.incidents(home) == []
    home.band.post(readings=[home.band.event("motion", ago_s=600.0) | {"place": "kitchen"}])
    stage.advance(1200)
    assert stage.incidents(home) == []


# The device


def silent_for(stage: Stage, seconds: float = 3700) -> None:
    stage.clock.move_to(stage.clock() + timedelta(seconds=seconds))
    stage.settle()


def test_flat_battery_is_said_as_the_cause(stage: Stage) -> None:
    home, _ = family(stage)
    home.phone.answers("1")
    home.band.measures(60, battery_pct=2)
    silent_for(stage)
    assert "배터리가 다 된" in sentence(stage, home, "device_silent", "ko")
    assert "battery seems to be flat" in sentence(stage, home, "device_silent", "en")
    stage.finish_calls()


def test_charging_and_taken_off_are_said_as_the_cause(stage: Stage) -> None:
    for event, korean, english in (("charging", "충전", "charger"), ("taken_off", "빼 두신", "taken off")):
        home = stage.home()
        home.phone.answers("1")
        home.band.measures(60, battery_pct=60)
        stage.clock.move_to(stage.clock() + timedelta(seconds=30))
        home.band.presses(event)
        silent_for(stage)
        assert korean in sentence(stage, home, "device_silent", "ko")
        assert english in sentence(stage, home, "device_silent", "en")
        stage.finish_calls()


def test_two_devices_of_one_home_silent_together_are_the_network_and_one_alone_is_unknown(stage: Stage) -> None:
    home, alone = stage.home(), stage.home()
    home.phone.answers("1")
    alone.phone.answers("1")
    other = stage.band(home)
    for band in (home.band, other, alone.band):
        band.measures(60, battery_pct=90)
    silent_for(stage)
    assert stage.case(home).reasons[0].condition.params["cause"] == "network"
    assert "까닭은 알 수 없" in sentence(stage, alone, "device_silent", "ko")
    stage.finish_calls()


# The area


def neighbours(stage: Stage, count: int) -> list[Home]:
    homes = [stage.home(birth_year=1945 + n, name=f"이웃{n:02d}") for n in range(count)]
    for home in homes:
        home.band.measures(5)
    return homes


def of_the_area(stage: Stage, homes: list[Home]) -> list[Home]:
    return [home for home in homes if "area_silent" in stage.conditions(home)]


@both_engines
def test_silence_of_an_area_is_one_case_for_the_desk_with_the_frailest_first(stage: Stage) -> None:
    homes = neighbours(stage, 4)
    frail = stage.home(birth_year=1930, name="박연로", dementia=True)
    frail.band.measures(5)
    crying = stage.home(stage.person("아들"), name="최급함")
    crying.contacts[0].phone.answers("3")
    crying.band.measures(5)
    stage.desk.answers("3")
    silent_for(stage)
    assert of_the_area(stage, [*homes, frail, crying]) == [frail]
    assert all("device_silent" not in stage.conditions(home) for home in [*homes, frail])
    stage.finish_calls()
    crying.band.sos()
    stage.finish_calls()
    page = stage.staff("관제사", "dispatcher").get(f"/incidents/{stage.incidents(frail)[-1].id}").text
    places = [page.index(name, page.index('id="calls-h"')) for name in ("최급함", "박연로", "이웃00", "이웃03")]
    assert places == sorted(places)
    assert frail.phone.number[-4:] in page
    assert "치매" in page
    for home in homes:
        home.band.measures(5)
    assert of_the_area(stage, [frail]) == [], "one alone is no area"
    assert stage.case(frail).acknowledged, "what somebody has in hand only they close"
    frail.phone.answers("1")
    stage.advance(120)
    assert "device_silent" in stage.conditions(frail)


def test_area_that_reports_again_ends_its_case_and_who_stays_silent_gets_their_own(stage: Stage) -> None:
    homes = neighbours(stage, 6)
    stage.desk.rings_out()
    silent_for(stage)
    [carrier] = of_the_area(stage, homes)
    stage.advance_until(lambda: stage.desk.rang > 0)
    late = next(home for home in homes if home is not carrier)
    for home in homes:
        if home is not late:
            home.band.measures(5)
    late.phone.answers("1")
    assert of_the_area(stage, homes) == []
    assert stage.case(carrier).close_reason == "device_reports_again"
    stage.advance(120)
    assert stage.conditions(late) == ["device_silent"]
    stage.finish_calls()


def test_silence_of_an_area_that_lasts_releases_everybody_the_frailest_first(stage: Stage) -> None:
    homes = neighbours(stage, 4)
    for home in homes:
        home.phone.answers("1")
    stage.desk.rings_out()
    silent_for(stage)
    assert sum("device_silent" in stage.conditions(home) for home in homes) == 0
    stage.advance(outages.RELEASE_AFTER.total_seconds() - 120)
    assert sum("device_silent" in stage.conditions(home) for home in homes) == 0
    stage.advance_until(lambda: any("device_silent" in stage.conditions(home) for home in homes), within_s=240)
    assert "device_silent" in stage.conditions(homes[0])
    stage.advance(360)
    assert all("device_silent" in stage.conditions(home) for home in homes)
    stage.finish_calls()


def test_our_own_outage_is_no_storm_and_who_does_not_come_back_is_still_missed(stage: Stage) -> None:
    homes = neighbours(stage, 6)
    ticking.beat(stage.house)
    stage.clock.move_to(stage.clock() + timedelta(hours=3))
    ticking.beat(stage.house)
    stage.settle()
    for home in homes[1:]:
        home.band.measures(5)
    assert all(stage.incidents(home) == [] for home in homes)
    homes[0].phone.answers("1")
    stage.advance(outages.GRACE.total_seconds() + 60)
    assert stage.conditions(homes[0]) == ["device_silent"]
    assert all(stage.incidents(home) == [] for home in homes[1:])
    stage.finish_calls()


def test_grace_after_an_outage_is_given_once_an_hour_at_most(stage: Stage) -> None:
    with stage.database.write() as tx:
        outages.note_beat(tx, stage.clock())
        outages.note_beat(tx, stage.clock() + timedelta(minutes=5))
        first = site_store.fact(tx, outages.LISTENING)
        outages.note_beat(tx, stage.clock() + timedelta(minutes=10))
        assert site_store.fact(tx, outages.LISTENING).at == first.at
        outages.note_beat(tx, stage.clock() + timedelta(minutes=80))
        assert site_store.fact(tx, outages.LISTENING).at > first.at


@both_engines
def test_queries_of_silence_count_who_is_quiet_and_put_off_who_was_heard_before(stage: Stage) -> None:
    homes = neighbours(stage, 3)
    heard = stage.clock()
    later = heard + timedelta(seconds=3000)
    with stage.database.write() as tx:
        [row] = device_store.silence_by_district(tx, later, 0.8)
        assert (row.devices, row.lost) == (3, 3)
        assert device_store.silence_by_district(tx, heard + timedelta(seconds=2000), 0.8)[0].lost == 0
        assert device_store.last_heard(tx, heard - timedelta(hours=1)) == (heard, 3)
        assert device_store.last_heard(tx, heard) == (None, 0)
        assert len(device_store.reporting_devices(tx, stage.organisation_id)) == 3
        until = heard + timedelta(hours=2)
        assert device_store.put_off_silences(tx, heard, until) == 0
        assert device_store.put_off_silences(tx, later, until) == 3
        assert {device.silence_due_at for device in device_store.devices(tx, [home.id for home in homes])} == {until}
        mine = (homes[0].id, homes[0].band.id)
        assert len(readings_store.last_uploads(tx, *mine, heard - timedelta(hours=1))) == 1
        assert readings_store.last_uploads(tx, *mine, later) == []
        assert incident_store.still_open(tx, ["area_silent"]) == []


# What is only a line, what asks, what is learnt


def test_irregular_pulse_is_a_line_on_the_familys_page_and_rings_nobody(stage: Stage) -> None:
    home, _ = family(stage)
    watcher = stage.caregiver("김민수", "minsu", home)
    rr = np.rint(np.clip(640 + 130 * np.random.default_rng(1).standard_normal(950), 320, 1400)).tolist()
    for part in range(5):
        some = rr[part * 190 : (part + 1) * 190]
        left = sum(rr[part * 190 :]) / 1000
        home.band.post(beats=[{"first_seq": home.band.take(len(some)), "start": home.band.told(left), "rr_ms": some}])
    assert "atrial_fibrillation" in stage.conditions(home)
    assert stage.incidents(home) == []
    assert "심방세동" in watcher.get(f"/patients/{home.id}").text


def fallen(lying_s: float) -> list[list[int]]:
    """Standing, dropping while tipping over, the blow, and lying still on one side: mg at 50 Hz."""
    rng = np.random.default_rng(0)

    def part(count: float, x: float, y: float, z: float) -> Any:
        return np.array([[x], [y], [z]]) + rng.normal(0, 0.01, (3, round(count * 50)))

    x, y = [3.0, 5.5, 3.0, 1.2, -0.4, 1.9, 0.6, 1.2], [1, 1.5, -1, 0.5, 0.6, -0.4, 0.2, 0.1]
    blow = np.array([x, y, [2, 2.5, 1, 0, 0.4, 0, 0.2, 0.1]])
    whole = np.concatenate([part(10, 0, 0, 1), part(0.45, 0.25, 0, 0.35), blow, part(lying_s, 1, 0.1, 0.1)], axis=1)
    return [[round(1000 * float(v)) for v in axis] for axis in whole]


def feels(home: Home, channels: list[list[int]]) -> None:
    ago_s = len(channels[0]) / 50
    wave = {"seq": home.band.take(), "start": home.band.told(ago_s), "sampling_rate_hz": 50}
    home.band.post(waveforms=[wave | {"kind": "accelerometer", "unit": "mg", "channels": channels}])


def at_the_waist(stage: Stage, home: Home) -> None:
    with stage.database.write() as tx:
        tx.conn.execute(update(table(Device)).where(table(Device).c.id == home.band.id).values(worn_at="waist"))
    stage.house.extras.pop("devices", None)  # a running house remembers devices; nobody moves a band in one


def test_fall_in_the_acceleration_asks_the_person_at_once(stage: Stage) -> None:
    home, _ = family(stage)
    home.band.measures(120)
    home.phone.waits_for_the_story()
    at_the_waist(stage, home)
    feels(home, fallen(8))
    assert stage.conditions(home) == ["fall_suspected"]
    assert (home.phone.rang, stage.case(home).state, stage.case(home).grave) == (1, "checking", False)
    home.phone.presses("1")
    stage.finish_calls()


def test_fall_with_stillness_rings_the_family_while_the_person_is_asked(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.waits_for_the_story()
    daughter.phone.answers("3")
    at_the_waist(stage, home)
    feels(home, fallen(45))
    assert "fall_still" in stage.conditions(home)
    assert stage.case(home).grave
    assert (home.phone.rang, daughter.phone.rang) == (1, 1)
    stage.finish_calls()
    assert stage.case(home).owner_id == daughter.id


def test_false_alarm_teaches_visibly_and_never_touches_sos(stage: Stage) -> None:
    home, daughter = family(stage)
    home.phone.rings_out()
    daughter.phone.answers("3")
    lives(home)
    quiet_until(stage, home, "person_silent", 14 * 3600 + 600)
    stage.finish_calls()
    staff = stage.staff("관제사", "dispatcher")
    closed = staff.act(stage.incidents(home)[-1].id, "close", reason="false_alarm_person")
    assert closed.status_code == 200, closed.text
    with stage.database.read() as tx:
        _, state = memory.carried(stage.house, tx, home.id)
    names = {code_key(code): code for code in ("person_silent", "sos")}
    [lift] = in_force(layers.decode([state]).fusion["budget"], names, memory.micros(stage.clock()))
    assert (lift.code, lift.cause) == ("person_silent", Cause.DAILY_LIFE)
    before = daughter.phone.rang
    home.band.sos()
    stage.finish_calls()
    assert daughter.phone.rang == before + 1
