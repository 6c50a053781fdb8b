"""The life of one call: how it is set up, what is said in it, which keys are pressed, how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urljoin

from service.loopback.calls import Call, now, stamp
from service.loopback.clockwork import Steps
from service.loopback.phones import NUMBER, Behaviour, Callbacks
from service.loopback.twiml import TwimlError, Verb, parse
from service.loopback.voice_messages import KEY_S, WILLING, VoiceMessage

if TYPE_CHECKING:
    from service.loopback.network import LoopbackNetwork

QUEUE_S = 0.1
DIAL_S = 0.4
"""Before the far telephone begins to ring."""
DETECTION_S = 1.0
"""What machine detection costs before the first word is said."""
PRESS_S = 0.5
"""Between the last word of a menu and the key."""
TALK_S = 5.0
"""How long two people who were connected talk, unless one of them hangs up by hand."""
LONGEST_TALK_S = 14_400.0
MOST_DOCUMENTS = 50
APOLOGY = "We are sorry, an application error has occurred. Goodbye."

Document = tuple[tuple[Verb, ...], str]


class HungUp(Exception):
    """The call is over, with this final status."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class CallLife:
    """Lives one call, step by step, yielding real seconds to sleep."""

    def __init__(self, network: LoopbackNetwork, call: Call) -> None:
        self._network = network
        self._call = call
        self._digits = list(call.plan.digits)
        self._documents = 0

    def outbound(self) -> Steps:
        """We ring a telephone."""
        status = "failed"
        try:
            yield from self._set_up()
            self._answer()
            yield from self._meet()
            yield from self._converse(self._first_document())
            status = "completed"
        except HungUp as end:
            status = end.status
        finally:
            self._network.finish(self._call, status)

    def inbound(self) -> Steps:
        """A telephone rings us."""
        status = "failed"
        try:
            yield from self._pause(DIAL_S)
            self._network.advance(self._call, "ringing", "ringing")
            document = self._first_document()
            if not (document[0] and document[0][0].name == "Reject"):
                self._network.advance(self._call, "in-progress", "answered")
            yield from self._converse(document)
            status = "completed"
        except HungUp as end:
            status = end.status
        finally:
            self._network.finish(self._call, status)

    def leg(self) -> Steps:
        """Another call is connected with this telephone: they talk until one of them hangs up."""
        status = "failed"
        try:
            yield from self._set_up()
            self._network.advance(self._call, "in-progress", "answered")
            manual = self._call.plan.behaviour is Behaviour.MANUAL
            yield from self._pause(LONGEST_TALK_S if manual else TALK_S)
            status = "completed"
        except HungUp as end:
            status = end.status
        finally:
            self._network.finish(self._call, status)

    def voice_message(self, voice: VoiceMessage) -> Steps:
        """SOLAPI rings a telephone, says its words and waits for a key if it offers any."""
        status, call = "failed", self._call
        try:
            yield from self._set_up()
            self._network.advance(call, "in-progress", "answered")
            self._hear(voice.text, "ko-KR", "FEMALE")
            yield from self._pause(self._network.speech_s)
            if voice.reply_range is not None:
                call.menus, call.listening = 1, True
                if self._digits:
                    self._digits[0] = "1" if self._digits[0] in WILLING else self._digits[0]
                yield from self._keys(Verb("Gather", "", {"timeout": str(KEY_S), "numDigits": "1", "finishOnKey": ""}))
            status = "completed"
        except HungUp as end:
            status = end.status
        finally:
            self._network.finish(call, status)

    def _set_up(self) -> Steps:
        call, plan = self._call, self._call.plan
        yield from self._pause(QUEUE_S)
        self._network.advance(call, "queued", "initiated")
        yield from self._pause(DIAL_S)
        if plan.behaviour in {Behaviour.UNREACHABLE, Behaviour.BUSY}:
            yield from self._pause(plan.wait_s)
            raise HungUp("failed" if plan.behaviour is Behaviour.UNREACHABLE else "busy")
        self._network.advance(call, "ringing", "ringing")
        if plan.behaviour is Behaviour.MANUAL:
            if not (yield from self._until(lambda: call.picked_up, call.ring_timeout_s)):
                raise HungUp("no-answer")
        elif plan.behaviour is Behaviour.NO_ANSWER or plan.wait_s >= call.ring_timeout_s:
            yield from self._pause(call.ring_timeout_s)
            raise HungUp("no-answer")
        else:
            yield from self._pause(plan.wait_s)
            if plan.behaviour is Behaviour.REJECT:
                raise HungUp("busy")

    def _answer(self) -> None:
        with self._network.lock:
            self._ends_if_taken_back()
            self._network.advance(self._call, "in-progress", "answered")

    def _ends_if_taken_back(self) -> None:
        if self._call.taken_back and "answered" not in self._call.times:
            raise HungUp("canceled")

    def _meet(self) -> Steps:
        """Find out who answered, if that was asked for."""
        call = self._call
        if not call.machine_detection:
            return
        yield from self._pause(DETECTION_S)
        machine = "machine_start" if call.machine_detection == "Enable" else "machine_end_beep"
        call.answered_by = machine if call.plan.behaviour is Behaviour.VOICEMAIL else "human"

    def _converse(self, document: Document | None) -> Steps:
        while document is not None:
            self._documents += 1
            if self._documents > MOST_DOCUMENTS:
                self._apologise(11100)
            document = yield from self._perform(document)

    def _perform(self, document: Document) -> Generator[float, None, Document | None]:
        verbs, base = document
        for verb in verbs:
            if verb.name == "Gather":
                following = yield from self._gather(verb, base)
                if following is not None:
                    return following
            elif verb.name == "Redirect":
                return self._fetch(urljoin(base, verb.text), verb.options.get("method", "POST"), {})
            elif verb.name == "Hangup":
                break
            elif verb.name == "Reject":
                raise HungUp("busy" if verb.options.get("reason") == "busy" else "no-answer")
            elif verb.name == "Dial":
                following = yield from self._dial(verb, base)
                if following is not None:
                    return following
            else:
                yield from self._speak(verb)
        return None

    def _dial(self, verb: Verb, base: str) -> Generator[float, None, Document | None]:
        """Connect with another telephone, and go on when the two have parted."""
        call, number = self._call, verb.text
        call.dialled.append(number)
        if not NUMBER.fullmatch(number):
            self._apologise(13223)
        caller = verb.options.get("callerId") or (call.to if call.caller_is_phone else call.from_)
        other = self._network.bridge(call, number, caller, verb.number("timeout", 30))
        call.bridged_to = other.sid
        try:
            yield from self._until(lambda: other.ended, LONGEST_TALK_S)
        finally:
            # Whoever leaves first takes the other along.
            self._network.end(other, "completed" if "answered" in other.times else "canceled")
        action = verb.options.get("action")
        if not action:
            return None
        form = {"DialCallSid": other.sid, "DialCallStatus": other.status, "DialBridged": "false"}
        if "answered" in other.times:
            form |= {"DialBridged": "true", "DialCallDuration": str(other.duration_s or 0)}
        return self._fetch(urljoin(base, action), verb.options.get("method", "POST"), form)

    def _speak(self, verb: Verb) -> Steps:
        if verb.name == "Say":
            self._hear(verb.text, verb.options.get("language", "en-US"), verb.options.get("voice", ""))
            yield from self._pause(self._network.speech_s)
        elif verb.name == "Pause":
            yield from self._pause(verb.number("length", 1))

    def _gather(self, verb: Verb, base: str) -> Generator[float, None, Document | None]:
        call = self._call
        call.menus += 1
        call.listening = True
        for inner in verb.inside:
            yield from self._speak(inner)
        pressed = yield from self._keys(verb)
        call.listening = False
        if not pressed and not verb.flag("actionOnEmptyResult"):
            return None
        form = {"Digits": pressed, "FinishedOnKey": "", "msg": "Gather End"}
        method = verb.options.get("method", "POST")
        return self._fetch(urljoin(base, verb.options.get("action", "")), method, form)

    def _keys(self, verb: Verb) -> Generator[float, None, str]:
        """The digits of this menu, empty when its time runs out."""
        call, timeout_s = self._call, verb.number("timeout", 5)
        if call.plan.behaviour is Behaviour.MANUAL:
            yield from self._until(lambda: bool(call.keys), timeout_s)
            keys = call.keys.popleft() if call.keys else ""
        elif call.plan.behaviour is not Behaviour.VOICEMAIL or call.caller_is_phone:
            keys = self._digits.pop(0) if self._digits else ""
            yield from self._pause(PRESS_S if keys else timeout_s)
        else:
            yield from self._pause(timeout_s)
            keys = ""
        keys = keys[: verb.number("numDigits", len(keys))]
        if keys:
            call.pressed_at.append(stamp(now()))
            call.pressed.append(keys)
        finish = verb.options.get("finishOnKey", "#")
        return keys.split(finish[0])[0] if finish else keys

    def _first_document(self) -> Document:
        if self._call.twiml is not None:
            return self._read(self._call.twiml, "")
        return self._fetch(self._call.url or "", self._call.method, {})

    def _fetch(self, url: str, method: str, more: Mapping[str, str]) -> Document:
        """Ask our service what comes next; when it cannot say, the carrier apologises and hangs up."""
        call = self._call
        times = 2 if call.plan.callbacks is Callbacks.TWICE else 1
        answer = None
        for _ in range(times):
            for got in self._network.post(method, url, {**call.webhook_form(), **more}):
                call.requests.append({"url": url, "result": got.result, "at": stamp(now())})
                answer = got if answer is None or not answer.good else answer
        if answer is None or not answer.good:
            self._apologise(11205 if answer is None or answer.status is None else 11200)
        elif "xml" not in answer.content_type:
            self._apologise(12300)
        return self._read(answer.body, url)

    def _read(self, body: bytes | str, base: str) -> Document:
        try:
            return parse(body), base
        except TwimlError as error:
            self._apologise(error.code)

    def _apologise(self, code: int) -> NoReturn:
        self._call.errors.append(code)
        self._hear(APOLOGY, "en-US", "")
        raise HungUp("completed")

    def _hear(self, text: str, language: str, voice: str) -> None:
        self._call.said.append({"text": text, "language": language, "voice": voice, "at": stamp(now())})

    def _pause(self, seconds: float) -> Steps:
        yield from self._until(lambda: False, seconds)

    def _until(self, met: Callable[[], bool], seconds: float) -> Generator[float, None, bool]:
        """Sleep until ``met`` or for ``seconds`` of the network's own time."""
        until = time.monotonic() + seconds / self._network.time_scale
        while not met() and (left := until - time.monotonic()) > 0:
            yield left
            self._ends_if_taken_back()
        return met()
