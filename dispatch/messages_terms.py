"""How states, outcomes, reasons and timeline lines read in Korean and English: tables only."""

from __future__ import annotations

from dispatch.alarm import Priority
from dispatch.codes import CloseReason, Disbelief, Log, Outcome, Role, Why
from dispatch.incident import State, UnitStage
from dispatch.messages_words import Pair, Words
from dispatch.notifier import CallStatus

STATES: dict[State, Pair] = {
    State.SUSPECTED: {"ko": "이상 감지", "en": "Suspected"},
    State.CHECKING: {"ko": "본인 확인 중", "en": "Asking the person"},
    State.CONFIRMED: {"ko": "도움 필요", "en": "Help needed"},
    State.DISPATCHED: {"ko": "119 신고함", "en": "119 called"},
    State.EN_ROUTE: {"ko": "출동 중", "en": "On the way"},
    State.ON_SCENE: {"ko": "현장 도착", "en": "On scene"},
    State.AT_PATIENT: {"ko": "대상자와 함께 있음", "en": "With the patient"},
    State.TRANSPORTING: {"ko": "병원 이송 중", "en": "On the way to hospital"},
    State.CANCELLED_BY_PATIENT: {"ko": "본인이 괜찮다고 함", "en": "Patient says fine"},
    State.STOOD_DOWN: {"ko": "대응 중지", "en": "Stood down"},
    State.CLOSED: {"ko": "종료", "en": "Closed"},
}
UNIT_STAGES: dict[UnitStage, Pair] = {
    UnitStage.CALLED: {"ko": "119 신고함", "en": "119 called"},
    UnitStage.EN_ROUTE: {"ko": "119 출동 중", "en": "119 on the way"},
    UnitStage.ON_SCENE: {"ko": "119 현장 도착", "en": "119 on scene"},
    UnitStage.WITH_PATIENT: {"ko": "119가 곁에 있음", "en": "119 with the patient"},
}
PRIORITIES: dict[Priority, Pair] = {
    Priority.HIGH: {"ko": "긴급", "en": "High"},
    Priority.MEDIUM: {"ko": "주의", "en": "Medium"},
    Priority.LOW: {"ko": "낮음", "en": "Low"},
}
ROLES: dict[Role, Pair] = {
    Role.CAREGIVER: {"ko": "보호자", "en": "caregiver"},
    Role.DISPATCHER: {"ko": "관제사", "en": "dispatcher"},
    Role.DESK: {"ko": "관제센터", "en": "control centre"},
}
CLOSE_REASONS: dict[CloseReason, Pair] = {
    CloseReason.TRUE_EMERGENCY: {"ko": "실제 응급 상황", "en": "True emergency"},
    CloseReason.NEEDED_HELP: {"ko": "도움이 필요했음", "en": "Needed help"},
    CloseReason.FALSE_ALARM_DEVICE: {"ko": "기기 오작동", "en": "False alarm by the device"},
    CloseReason.FALSE_ALARM_PERSON: {"ko": "실수로 누름", "en": "Pressed by mistake"},
    CloseReason.TECHNICAL: {"ko": "기술 문제", "en": "Technical fault"},
    CloseReason.PATIENT_FINE: {"ko": "본인이 괜찮음", "en": "The patient is fine"},
    CloseReason.DUPLICATE: {"ko": "중복된 건", "en": "Duplicate"},
    CloseReason.TEST: {"ko": "시험", "en": "Test"},
    CloseReason.DEVICE_REPORTS_AGAIN: {"ko": "기기 신호가 돌아옴", "en": "The device reports again"},
}
OUTCOMES: dict[str, Pair] = {
    CallStatus.QUEUED.value: {"ko": "대기 중", "en": "waiting"},
    CallStatus.RINGING.value: {"ko": "전화 거는 중", "en": "ringing"},
    CallStatus.IN_PROGRESS.value: {"ko": "통화 중", "en": "on the line"},
    CallStatus.COMPLETED.value: {"ko": "통화 끝남", "en": "call ended"},
    CallStatus.CANCELLED.value: {"ko": "취소됨", "en": "cancelled"},
    CallStatus.SENT.value: {"ko": "문자 보냄", "en": "text sent"},
    CallStatus.DELIVERED.value: {"ko": "문자 도착", "en": "text delivered"},
    CallStatus.UNDELIVERED.value: {"ko": "문자 전달 안 됨", "en": "text not delivered"},
    Outcome.BUSY.value: {"ko": "상대방 통화 중", "en": "line busy"},
    Outcome.NO_ANSWER.value: {"ko": "받지 않음", "en": "no answer"},
    Outcome.FAILED.value: {"ko": "연결 실패", "en": "could not be reached"},
    Outcome.VOICEMAIL.value: {"ko": "음성사서함", "en": "voicemail"},
    Outcome.HUNG_UP.value: {"ko": "끊음", "en": "hung up"},
    Outcome.NO_KEY.value: {"ko": "받았으나 맞는 번호를 누르지 않음", "en": "picked up, no key that does anything"},
    Outcome.CALLED_OFF.value: {"ko": "더 필요하지 않아 전화를 멈춤", "en": "called off, no longer needed"},
}
WHYS: dict[Why, Pair] = {
    Why.SOS: {"ko": "도움 버튼", "en": "help button"},
    Why.CANNOT_BE_ASKED: {"ko": "전화로 물을 수 없음", "en": "cannot be asked by phone"},
    Why.OWN_FAULT: {"ko": "시스템 오류", "en": "a fault on our side"},
    Why.FINE: {"ko": "괜찮다고 함", "en": "says fine"},
    Why.FINE_NOT_BELIEVED: {"ko": "괜찮다는 답만으로 끝낼 수 없음", "en": "the word fine is not enough"},
    Why.HELP: {"ko": "도움을 요청함", "en": "asked for help"},
    Why.OTHER_KEY: {
        "ko": "다른 번호를 눌러 도움 요청으로 봄",
        "en": "pressed another key, which counts as asking for help",
    },
    Why.NO_KEY: {"ko": "전화는 받았으나 답이 없음", "en": "picked up but pressed nothing"},
    Why.DURESS: {"ko": "비밀 도움 신호", "en": "secret call for help"},
    Why.UNANSWERED: {"ko": "답이 없음", "en": "no answer"},
    Why.ACKNOWLEDGED: {"ko": "맡은 사람이 있음", "en": "someone took it"},
    Why.HUMAN: {"ko": "사람이 판단함", "en": "a person decided"},
    Why.WORSE: {"ko": "상태가 나빠짐", "en": "signs worsened"},
    Why.STOOD_DOWN: {"ko": "대응 중지", "en": "stood down"},
    Why.DEVICE_REPORTS_AGAIN: {"ko": "기기 신호가 돌아옴", "en": "the device reports again"},
}
DISBELIEFS: dict[Disbelief, Pair] = {
    Disbelief.MAY_NOT_CANCEL: {
        "ko": "본인 답만으로 끝내지 않는 대상자",
        "en": "not to be taken at their word",
    },
    Disbelief.SOS: {"ko": "도움 버튼을 누름", "en": "the help button was pressed"},
    Disbelief.GRAVE: {"ko": "위급한 신호", "en": "the sign is grave"},
    Disbelief.NO_VITALS: {"ko": "측정값이 없음", "en": "there are no readings"},
    Disbelief.STALE_VITALS: {"ko": "측정값이 오래됨", "en": "the readings are too old"},
    Disbelief.WORSE: {"ko": "측정값이 더 나빠짐", "en": "the readings are worse"},
}

LOGS: dict[Log, dict[str, Words]] = {
    Log.OPENED: {"ko": Words("이상이 감지되었습니다"), "en": Words("Incident opened")},
    Log.NEW_EVIDENCE: {
        "ko": Words("새로운 신호가 더해졌습니다", "새로운 신호: {code}"),
        "en": Words("New evidence joined", "New evidence: {code}"),
    },
    Log.EVIDENCE_AGAIN: {
        "ko": Words("같은 신호가 다시 나타났습니다", "신호가 다시 나타남: {code}"),
        "en": Words("A sign came again", "Sign came again: {code}"),
    },
    Log.EVIDENCE_ENDED: {
        "ko": Words("신호가 사라졌습니다", "신호가 사라짐: {code}"),
        "en": Words("A sign ended", "Sign ended: {code}"),
    },
    Log.PRIORITY_RAISED: {
        "ko": Words("우선순위를 높였습니다", "우선순위를 높였습니다: {priority}"),
        "en": Words("Priority raised", "Priority raised to {priority}"),
    },
    Log.CHECK_STARTED: {"ko": Words("본인 확인을 시작했습니다"), "en": Words("Started asking the patient")},
    Log.ASKED: {
        "ko": Words("대상자에게 전화했습니다", "대상자에게 전화했습니다 ({attempt}번째)"),
        "en": Words("Rang the patient", "Rang the patient (attempt {attempt})"),
    },
    Log.PICKED_UP: {"ko": Words("전화를 받았습니다: {who}"), "en": Words("Picked up: {who}")},
    Log.RETURNED_CALL: {"ko": Words("되걸어 온 전화: {who}"), "en": Words("Rang back: {who}")},
    Log.WRONG_KEY: {
        "ko": Words("{who}: 없는 번호를 누름", "{who}: 없는 번호를 눌러 다시 안내함 (누른 번호 {key})"),
        "en": Words("{who} pressed a key that does nothing", "{who} pressed {key}, which does nothing"),
    },
    Log.OFFERED: {
        "ko": Words("{who}: 다른 건의 전화를 받아 이 건을 안내함"),
        "en": Words("{who} picked up about another case and was offered this one"),
    },
    Log.CALLED_OFF: {
        "ko": Words("{who}: 더 필요하지 않아 걸던 전화를 멈춤"),
        "en": Words("The call to {who} was stopped: nobody else was needed"),
    },
    Log.ASK_CALL_ENDED: {
        "ko": Words("대상자와 통화하지 못했습니다", "대상자 전화: {outcome}"),
        "en": Words("The call to the patient ended", "Call to the patient: {outcome}"),
    },
    Log.CHECK_ENDED: {
        "ko": Words("본인 확인을 마쳤습니다", "본인 확인을 마쳤습니다: {how}"),
        "en": Words("The check ended", "The check ended: {how}"),
    },
    Log.ANSWERED_FINE: {
        "ko": Words("대상자가 괜찮다고 답했습니다"),
        "en": Words("The patient answered: fine"),
    },
    Log.ANSWERED_HELP: {
        "ko": Words("대상자에게 도움이 필요합니다", "대상자의 답: {how}", ("누른 번호 {key}",)),
        "en": Words("The patient needs help", "The patient's answer: {how}", ("key {key}",)),
    },
    Log.ANSWERED_DURESS: {
        "ko": Words("대상자가 비밀 도움 신호를 보냈습니다"),
        "en": Words("The patient used the secret call for help"),
    },
    Log.FINE_NOT_BELIEVED: {
        "ko": Words("괜찮다는 답만으로 끝내지 않았습니다", "괜찮다는 답만으로 끝내지 않았습니다: {reason}"),
        "en": Words("Fine was not enough to stop", "Fine was not enough to stop: {reason}"),
    },
    Log.LATE_FINE: {
        "ko": Words("대상자가 괜찮다고 답했으나 멈추지 않습니다"),
        "en": Words("The patient answered fine: noted, and it stops nothing"),
    },
    Log.LATE_HELP: {
        "ko": Words("대상자에게 도움이 필요합니다", "대상자의 답: {how}", ("누른 번호 {key}",)),
        "en": Words("The patient needs help", "The patient's answer: {how}", ("key {key}",)),
    },
    Log.CONFIRMED: {
        "ko": Words("도움이 필요한 상황으로 보았습니다", "도움이 필요한 상황으로 보았습니다: {why}"),
        "en": Words("Taken as needing help", "Taken as needing help: {why}"),
    },
    Log.CANCELLED_BY_PATIENT: {
        "ko": Words("대상자가 괜찮아 연락을 멈췄습니다"),
        "en": Words("The patient is fine; contacts are not rung"),
    },
    Log.REOPENED: {
        "ko": Words("다시 열었습니다", "다시 열었습니다: {why}"),
        "en": Words("Reopened", "Reopened: {why}"),
    },
    Log.CONTACT_RUNG: {
        "ko": Words("연락처에 전화했습니다", "{person}에게 전화했습니다"),
        "en": Words("Rang a contact", "Rang {person}"),
    },
    Log.CONTACT_CALL_ENDED: {
        "ko": Words("{who} 통화 안 됨", "{who}: {outcome}"),
        "en": Words("No answer from {who}", "{who}: {outcome}"),
    },
    Log.CONTACT_NO_KEY: {
        "ko": Words("{who}: 받았으나 답이 없음", "{who}: 받았으나 맞는 번호를 누르지 않음 (누른 번호 {key})"),
        "en": Words(
            "{who} picked up but pressed nothing", "{who} picked up, pressed {key} and no key that does anything"
        ),
    },
    Log.CONTACT_DECLINED: {
        "ko": Words("{who}: 어렵다고 답함", "{who}: 어렵다고 답함. 이미 맡은 사람이 있음 ({owner})"),
        "en": Words("{who} cannot take it", "{who} cannot take it; {owner} has it already"),
    },
    Log.WRONG_NUMBER: {
        "ko": Words("{who}: 잘못된 번호라 더는 전화하지 않음"),
        "en": Words("{who}: wrong number, not called any more"),
    },
    Log.ROUND_ENDED: {
        "ko": Words("연락처를 한 차례 모두 돌았습니다", "연락처 {round}차 전화를 마쳤습니다"),
        "en": Words("A round of calls ended", "Round {round} of calls ended"),
    },
    Log.NO_CONTACTS: {
        "ko": Words("전화할 연락처가 없습니다"),
        "en": Words("There is no contact to ring"),
    },
    Log.DESK_RUNG: {
        "ko": Words("관제센터에 전화했습니다", "관제센터에 전화했습니다 ({attempt}번째)"),
        "en": Words("Rang the control centre", "Rang the control centre (attempt {attempt})"),
    },
    Log.DESK_CALL_ENDED: {
        "ko": Words("관제센터와 통화하지 못했습니다", "관제센터 전화: {outcome}"),
        "en": Words("The control centre did not answer", "Call to the control centre: {outcome}"),
    },
    Log.DESK_NO_KEY: {
        "ko": Words(
            "관제센터가 받았으나 답이 없습니다", "관제센터가 받았으나 맞는 번호를 누르지 않음 (누른 번호 {key})"
        ),
        "en": Words(
            "The control centre picked up but pressed no key to take it",
            "The control centre picked up and pressed {key}, which does not take it",
        ),
    },
    Log.ACKNOWLEDGED: {
        "ko": Words("맡았습니다: {who}", "맡았습니다: {who} ({role})"),
        "en": Words("Taken by {who}", "Taken by {who} ({role})"),
    },
    Log.STILL_ON_IT: {"ko": Words("계속 맡고 있습니다: {who}"), "en": Words("Still held by {who}")},
    Log.ALREADY_TAKEN: {
        "ko": Words("{who}: 이미 다른 분이 맡음", "{who}: 이미 맡은 사람이 있음 ({owner})"),
        "en": Words("{who} was told that it is taken", "{who} was told that {owner} has it"),
    },
    Log.NOTHING_TO_TAKE: {
        "ko": Words("{who}: 맡으려 했으나 이미 끝난 일"),
        "en": Words("{who} wanted to take it, but it was over"),
    },
    Log.OTHERS_TOLD: {
        "ko": Words("다른 분들께 알렸습니다", "다른 분 {count}명에게 문자로 알렸습니다"),
        "en": Words("The others were told", "Others told by text: {count}"),
    },
    Log.OWNER_TOLD: {
        "ko": Words("알렸습니다", "알렸습니다: {owner}"),
        "en": Words("Told of it", "Told {owner}"),
    },
    Log.CLAIMED: {"ko": Words("살펴보는 중: {who}"), "en": Words("{who} is looking into it")},
    Log.CLAIM_EXPIRED: {
        "ko": Words("살펴보던 시간이 지났습니다", "살펴보던 시간이 지났습니다: {owner}"),
        "en": Words("A claim expired", "The claim of {owner} expired"),
    },
    Log.RETURNED_TO_QUEUE: {
        "ko": Words("맡은 사람이 없어져 다시 연락합니다", "다시 연락을 시작합니다. 맡았던 분: {owner}"),
        "en": Words("Back in the queue", "Back in the queue; it was held by {owner}"),
    },
    Log.REMINDED: {
        "ko": Words("진행 소식이 없어 다시 알렸습니다"),
        "en": Words("No progress was reported; a reminder went out"),
    },
    Log.DISPATCHED: {
        "ko": Words("119에 신고했습니다: {who}", "119에 신고했습니다: {who} (접수 {reference})"),
        "en": Words("{who} called 119", "{who} called 119 (reference {reference})"),
    },
    Log.PROGRESSED: {
        "ko": Words("진행 상황이 바뀌었습니다 (적은 사람: {who})", "{state} (적은 사람: {who})"),
        "en": Words("Progress reported by {who}", "{state} (written down by {who})"),
    },
    Log.UNIT_PROGRESSED: {
        "ko": Words("119 소식 (적은 사람: {who})", "{unit} (적은 사람: {who})"),
        "en": Words("News of the 119 crew (written down by {who})", "{unit} (written down by {who})"),
    },
    Log.UNIT_REMINDED: {
        "ko": Words("119 소식이 없어 관제센터에 다시 알렸습니다"),
        "en": Words("No news of the 119 crew; the control centre was reminded"),
    },
    Log.NOTED: {
        "ko": Words("메모: {who}", "메모: {text} ({who})"),
        "en": Words("Note by {who}", "{who}: {text}"),
    },
    Log.STOOD_DOWN: {
        "ko": Words("대응을 중지했습니다: {who}", "대응을 중지했습니다: {who} ({reason})"),
        "en": Words("Stood down by {who}", "Stood down by {who} ({reason})"),
    },
    Log.CLOSED: {
        "ko": Words("종료했습니다", "종료했습니다: {reason}"),
        "en": Words("Closed", "Closed: {reason}"),
    },
    Log.ORPHAN_FOUND: {
        "ko": Words("다음 조치가 없는 건을 찾아 되살렸습니다"),
        "en": Words("An incident without a next step was found and revived"),
    },
    Log.GOING: {
        "ko": Words("{who}: 가는 중", "{who}: 가는 중, {eta_s} 뒤 도착 예정"),
        "en": Words("{who} is on the way", "{who} is on the way, there in {eta_s}"),
    },
    Log.NOT_ARRIVED: {
        "ko": Words("온다던 시각이 지났습니다", "{person}: 온다던 시각이 지났습니다"),
        "en": Words("Nobody arrived at the time that was given", "{person} did not arrive at the time they gave"),
    },
    Log.ARRIVED: {"ko": Words("{who}: 대상자 곁에 도착"), "en": Words("{who} is with the patient")},
    Log.ARRIVED_TOO: {
        "ko": Words("{who}: 곁에 있다고 알림. 맡은 사람은 그대로입니다"),
        "en": Words("{who} says they are there too; who holds it stays the same"),
    },
    Log.TAKE_FIRST: {
        "ko": Words("{who}: 도착했다고 했으나 먼저 맡아야 합니다"),
        "en": Words("{who} says they are there, but has to take it first, having declined"),
    },
    Log.SAFE: {"ko": Words("{who}: 무사하다고 알림"), "en": Words("{who} says that all is well")},
    Log.SAFE_NOTED: {
        "ko": Words("{who}: 무사하다고 알림. 적어만 두었고 관제센터가 판단합니다"),
        "en": Words("{who} says that all is well: written down, the control centre decides"),
    },
    Log.SAFE_ASKED: {
        "ko": Words("{who}: 무사하다고 알림. 앞서 맡은 쪽의 확인을 기다립니다"),
        "en": Words("{who} says that all is well: whoever had it before, or the control centre, has to agree"),
    },
    Log.PATIENT_TOLD: {
        "ko": Words("누가 오는지 알리려고 대상자에게 전화했습니다"),
        "en": Words("Rang the patient to say who is coming"),
    },
    Log.BRIDGED: {
        "ko": Words("통화를 이어 주었습니다: {who}"),
        "en": Words("The call of {who} was put through"),
    },
    Log.CONTACT_QUIET: {
        "ko": Words("방해 금지 시간이라 전화하지 않았습니다", "{person}: 방해 금지 시간이라 전화하지 않음"),
        "en": Words("A contact has quiet hours and was not rung", "{person} has quiet hours and was not rung"),
    },
    Log.CONTACT_REMOVED: {
        "ko": Words("연락처에서 뺀 분께는 더 전화하지 않습니다", "{who}: {person} 님을 연락처에서 뺌. 더 걸지 않음"),
        "en": Words("A contact was removed and is rung no more", "{who} removed {person}, who is rung no more"),
    },
    Log.CONTACT_AWAY: {
        "ko": Words("자리를 비운 분은 맨 나중에 전화합니다", "{person}: 자리를 비워 맨 나중에 전화"),
        "en": Words("A contact is away and is rung last", "{person} is away and is rung last"),
    },
    Log.ENDED_UNSPOKEN: {
        "ko": Words("{who}: 본인과 이야기하거나 곁에 간 사람이 확인되지 않은 채 마침"),
        "en": Words("{who} ended it although nobody is known to have spoken with the person or been there"),
    },
    Log.ENDED_BEFORE_UNIT: {
        "ko": Words("{who}: 119가 아직 가는 중인데 마침"),
        "en": Words("{who} ended it although a unit of 119 was still on its way"),
    },
    Log.CONTACT_WENT_AWAY: {
        "ko": Words("{who}: 자리를 비운다고 알림. 이제 다른 분들 다음에 전화함"),
        "en": Words("{who} says that they are away, and is rung after the others from here on"),
    },
    Log.CONTACT_IS_BACK: {
        "ko": Words("{who}: 돌아왔다고 알림. 다시 제 차례에 전화함"),
        "en": Words("{who} says that they are back, and is rung in their turn again"),
    },
    Log.CONTACT_HOURS: {
        "ko": Words("{who}: 방해 금지 시간을 바꿈. 다음 전화부터 따름"),
        "en": Words("{who} changed their quiet hours, which hold from the next ring on"),
    },
    Log.LAST_RUNG_UNVERIFIED: {
        "ko": Words("확인된 번호가 없어 관제센터에도 전화합니다"),
        "en": Words("No number is verified, so the control centre is rung too"),
    },
    Log.HANDED_OVER: {
        "ko": Words("기록을 넘겼습니다: {who}", "{to}에 기록을 넘겼습니다: {who}"),
        "en": Words("{who} handed the record over", "{who} handed the record over to {to}"),
    },
    Log.HANDOVER_ACCEPTED: {
        "ko": Words("넘긴 기록을 받았다고 합니다", "넘긴 기록을 받았다고 합니다 (접수 {reference})"),
        "en": Words("The record was accepted", "The record was accepted (reference {reference})"),
    },
    Log.HANDOVER_REJECTED: {
        "ko": Words("넘긴 기록이 반려되었습니다", "넘긴 기록이 반려되었습니다: {reason}"),
        "en": Words("The record was sent back", "The record was sent back: {reason}"),
    },
    Log.HELD_BACK: {
        "ko": Words("알림을 미뤄 둔 신호가 계속되어 알립니다", "알림을 미뤄 둔 신호가 계속되어 알림: {code}"),
        "en": Words("A snoozed sign is still there", "Snoozed, and still there: {code}"),
    },
    Log.HANDOVER_UNANSWERED: {
        "ko": Words("넘긴 기록에 답이 없어 전화로 알려야 합니다"),
        "en": Words("The record was not answered: it has to be read out by telephone"),
    },
}
CLOSED_BY: dict[str, Words] = {
    "ko": Words("종료했습니다: {who}", "종료했습니다: {who} ({reason})"),
    "en": Words("Closed by {who}", "Closed by {who}: {reason}"),
}
"""A case that a human closed; one that ended by itself is worded in ``LOGS``."""
