"""What the pages are shown in their own tests: a case, a card, and a gate that notes what is asked of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

NOW = datetime(2026, 11, 22, 12, 4, 33, tzinfo=UTC)
CASE = UUID("0192b1d0-0000-7000-8000-000000000001")
MEDIUM = UUID("0192b1d0-0000-7000-8000-000000000002")
PATIENT = UUID("0192b1d0-0000-7000-8000-00000000000a")
SPEECHES = {
    "ko": {
        "sos": "긴급 호출 버튼을 눌렀습니다 (늦게 도착: 3분)",
        "low": "산소포화도가 4분째 84 %입니다 (평소 96 %, 한계 90 %)",
        "checking": "본인에게 확인 중",
        "confirmed": "확인됨",
        "next": "김민지 님에게 전화",
        "daughter": "딸",
        "desk": "관제 요원",
        "no_answer": "받지 않음",
        "voicemail": "음성 사서함",
        "fresh": "새 측정값이 있고 모두 평소와 같습니다.",
        "help": "긴급 호출 버튼이 눌려 도움을 요청하고 있습니다.",
        "stale": "밴드에서 3시간째 소식이 없어 상태를 알 수 없습니다.",
        "check": "맥박이 평소보다 조금 빠릅니다. 지켜보고 있습니다.",
        "well_w": "잘 지내고 계세요",
        "check_w": "확인이 필요해요",
        "help_w": "도움이 필요해요",
        "unknown_w": "지금은 알 수 없어요",
    },
    "en": {
        "sos": "The SOS button was pressed (arrived 3 minutes late)",
        "low": "Oxygen saturation has been 84 % for 4 minutes (usual 96 %, limit 90 %)",
        "checking": "Asking the person",
        "confirmed": "Confirmed",
        "next": "ring Kim Minji",
        "daughter": "daughter",
        "desk": "Dispatcher",
        "no_answer": "no answer",
        "voicemail": "voicemail",
        "fresh": "Fresh readings, all as usual.",
        "help": "The SOS button was pressed and help is being arranged.",
        "stale": "The band has sent nothing for 3 hours, so we cannot know.",
        "check": "The pulse is a little faster than usual. We are watching it.",
        "well_w": "Well",
        "check_w": "Please check",
        "help_w": "Needs help",
        "unknown_w": "Not known now",
    },
}


def person(name: str = "박순자", age: int = 82, simulated: bool = True) -> dict[str, Any]:
    return {"id": PATIENT, "name": name, "age": age, "district": "부산 해운대구", "simulated": simulated}


def row(say: dict[str, str], now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return {
        "id": CASE,
        "patient": person(),
        "priority": "high",
        "state": "confirmed",
        "state_text": say["confirmed"],
        "technical": False,
        "reasons": [say["sos"], say["low"]],
        "opened_at": now - timedelta(seconds=84),
        "owner": None,
        "mine": False,
        "acknowledged": False,
        "deadline_at": None,
        "next_step_text": say["next"],
        "next_step_at": now + timedelta(seconds=24),
        "last_rung": {"who": "박준호", "result_text": say["no_answer"], "at": now - timedelta(seconds=21)},
        **changes,
    }


def vitals(stale: bool = False) -> list[dict[str, Any]]:
    age = 10_800.0 if stale else 24.0
    said = (
        ("heart_rate_bpm", "심박수", 112, "bpm"),
        ("spo2_pct", "산소포화도", 84, "%"),
        ("respiratory_rate_bpm", "호흡수", 24, "/min"),
        ("temperature_c", "체온", 36.6, "°C"),
    )
    tiles = [
        {"code": c, "name": n, "value": v, "unit": u, "age_s": age, "stale": stale, "doubtful": False}
        for c, n, v, u in said
    ]
    tiles.append(
        {
            "code": "systolic_mmhg",
            "name": "수축기 혈압",
            "value": 128,
            "unit": "mmHg",
            "age_s": 7_500.0,
            "stale": True,
            "doubtful": False,
        }
    )
    tiles.append(
        {
            "code": "glucose_mgdl",
            "name": "혈당",
            "value": None,
            "unit": "mg/dL",
            "age_s": None,
            "stale": True,
            "doubtful": False,
        }
    )
    tiles[2]["doubtful"] = True
    return tiles


def series(now: datetime = NOW, minutes: int = 30, until: int = 0) -> list[dict[str, Any]]:
    steps = range(minutes * 6, until * 6, -1)
    moment = now.timestamp()
    return [
        {
            "code": "heart_rate_bpm",
            "name": "심박수",
            "unit": "bpm",
            "low": 50,
            "high": 110,
            "points": [[moment - 10 * n, 74 + (n * 7) % 5 + max(0, 40 - n)] for n in steps if not 60 < n < 90],
        },
        {
            "code": "spo2_pct",
            "name": "산소포화도",
            "unit": "%",
            "low": 90,
            "high": None,
            "points": [[moment - 10 * n, 96 - (n * 3) % 2 - max(0, 14 - n // 2)] for n in steps if n > 24],
        },
    ]


def case(say: dict[str, str], now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    timeline = [
        (0, say["sos"], ""),
        (2, say["confirmed"], ""),
        (18, f"박준호: {say['no_answer']}", say["daughter"]),
        (63, f"김민지: {say['voicemail']}", ""),
    ]
    return {
        **row(say, now),
        "patient": {
            **person(),
            "sex_text": "여",
            "birth_year": 1944,
            "address": "부산 해운대구 우동 12, 101동 1203호",
            "access_note": "공동현관 비밀번호는 관리실에 문의, 열쇠는 1201호 이웃",
            "phones": ["051-555-0123"],
            "flags": ["심장 질환", "청력 저하"],
        },
        "contacts": [
            {
                "name": "박준호",
                "relation": "아들",
                "phone": "010-5550-0102",
                "result_text": say["no_answer"],
                "at": now - timedelta(seconds=66),
                "going": False,
            },
            {
                "name": "김민지",
                "relation": say["daughter"],
                "phone": "010-5550-0103",
                "result_text": None,
                "at": None,
                "going": False,
            },
        ],
        "vitals": vitals(),
        "news2_text": "NEWS2 8 (5/7)",
        "series": series(now),
        "timeline": [
            {"at": now - timedelta(seconds=84 - s), "t_s": s, "text": x, "who_text": w} for s, x, w in timeline
        ],
        "cost": {"calls": 2, "texts": 1, "amount_text": "₩ 134"},
        "actions": ["claim", "acknowledge", "dispatch", "progress", "note", "stand_down", "close"],
        "progress_states": [{"state": "at_patient", "text": "곁에 도착"}],
        "close_reasons": [{"code": "helped", "text": "도움을 받음"}],
        "external_reference": None,
        "times": {},
        **changes,
    }


def card(say: dict[str, str], now: datetime = NOW, word: str = "well", **changes: Any) -> dict[str, Any]:
    why = {"well": "fresh", "check": "check", "help": "help", "unknown": "stale"}[word]
    stale = word == "unknown"
    helping = {
        "id": CASE,
        "state_text": say["confirmed"],
        "opened_at": now - timedelta(seconds=84),
        "reasons": [say["sos"]],
        "rung": [{"who": "박준호", "result_text": say["no_answer"], "at": now - timedelta(seconds=60)}],
        "going": None,
        "next_step_text": say["next"],
    }
    return {
        "id": PATIENT,
        "name": "박순자",
        "age": 82,
        "simulated": True,
        "word": word,
        "word_text": say[f"{word}_w"],
        "why": say[why],
        "data_age_s": 10_800.0 if stale else 128.0,
        "stale": stale,
        "vitals": vitals(stale),
        "technical": [],
        "lines": [],
        "standing": None,
        "away_until": None,
        "incident": helping if word == "help" else None,
        "series": series(now, 360, 180 if stale else 0),
        "history": [{"opened_at": now - timedelta(days=9), "reason": say["low"], "outcome_text": say["fresh"]}],
        "looked": [{"who": "이지은", "role_text": say["desk"], "at": now - timedelta(hours=2)}],
        **changes,
    }


class Gate:
    """Stands for service.access: one dispatcher, one caregiver, everything that was asked of it."""

    def __init__(self) -> None:
        self.done: list[tuple[UUID, str, dict[str, str]]] = []
        self.languages: list[str] = []
        self.refusal: Exception | None = None
        self.rows: list[dict[str, Any]] | None = None
        self.cards: list[dict[str, Any]] | None = None
        self.ended: list[str] = []
        self.aways: list[tuple[UUID, datetime | None]] = []

    def set_away(self, house: Any, viewer: Any, patient_id: UUID, until: datetime | None) -> None:
        if until is not None and until < NOW:
            raise ValueError("until must lie ahead")
        self.aways.append((patient_id, until and until.astimezone(UTC)))

    class Denied(Exception):
        pass

    def viewer_from_cookie(self, house: Any, cookie: str | None) -> Any:
        who = {
            "desk": ("이지은", {"dispatcher"}, "ko"),
            "desk-en": ("Lee Jieun", {"dispatcher"}, "en"),
            "family": ("김민지", {"caregiver"}, "ko"),
            "both": ("정하늘", {"operator"}, "en"),
        }.get(cookie or "")
        if who is None:
            return None
        return SimpleNamespace(
            person_id=PATIENT,
            name=who[0],
            roles=frozenset(who[1]),
            language=who[2],
            csrf="token",
            patients=frozenset(),
        )

    def log_in(self, house: Any, name: str, password: str, remote: str) -> Any:
        return ("desk", self.viewer_from_cookie(house, "desk")) if (name, password) == ("이지은", "demo-1") else None

    def log_out(self, house: Any, cookie: str) -> None:
        self.ended.append(cookie)

    def set_language(self, house: Any, viewer: Any, language: str) -> None:
        self.languages.append(language)

    def board(self, house: Any, viewer: Any) -> dict[str, Any]:
        if "dispatcher" not in viewer.roles:
            raise self.Denied("board")
        rows = [row(SPEECHES[viewer.language])] if self.rows is None else self.rows
        return {
            "rows": rows,
            "technical": [],
            "counts": {"open": len(rows), "unclaimed": len(rows)},
            "cursor": 1,
            "now": NOW,
        }

    def incident(self, house: Any, viewer: Any, incident_id: UUID) -> dict[str, Any]:
        if incident_id != CASE:
            raise LookupError("no incident")
        if "dispatcher" not in viewer.roles:
            raise self.Denied("incident")
        return case(SPEECHES[viewer.language])

    def my_patients(self, house: Any, viewer: Any) -> dict[str, Any]:
        return {"patients": [card(SPEECHES["ko"])] if self.cards is None else self.cards, "now": NOW}

    def patient(self, house: Any, viewer: Any, patient_id: UUID) -> dict[str, Any]:
        return (self.cards or [card(SPEECHES["ko"])])[0]

    def act(self, house: Any, viewer: Any, incident_id: UUID, action: str, fields: dict[str, str]) -> None:
        if self.refusal:
            raise self.refusal
        self.done.append((incident_id, action, fields))
