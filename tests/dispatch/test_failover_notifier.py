"""Several carriers as one: who is asked, who is passed over, and when somebody may be rung twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from dispatch import carriers
from dispatch.failover_notifier import LONGEST_REST_S, REST_S, FailoverNotifier
from dispatch.notifier import (
    CallRequest,
    CarrierEvent,
    CarrierEventKind,
    Fault,
    Found,
    NotificationError,
    Prompt,
    Reach,
    Receipt,
    TextRequest,
)

MOTHER, DESK, NEW_YORK = "+821011112222", "+82515550199", "+12125550100"
NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


@dataclass
class Clocks:
    s: float = 0.0

    def __call__(self) -> float:
        return self.s


@dataclass
class Played:
    """A carrier that does what it is told and remembers what it was asked."""

    name: str
    clocks: Clocks
    speaks_up_front: bool = False
    script: list[NotificationError | None] = field(default_factory=list)
    """What the next requests meet; then all goes well."""
    found: tuple[Receipt, ...] | NotificationError = ()
    sure: bool = True
    takes_s: float = 0.1
    asked: list[str] = field(default_factory=list)

    def _meet(self, what: str) -> Receipt:
        self.asked.append(what)
        self.clocks.s += self.takes_s
        trouble = self.script.pop(0) if self.script else None
        if trouble is not None:
            raise trouble
        return Receipt(provider=self.name, id=f"{self.name}-{len(self.asked)}")

    def place_call(self, request: CallRequest) -> Receipt:
        return self._meet("call")

    def send_text(self, request: TextRequest) -> Receipt:
        return self._meet("text")

    def announce(self, to: str, lines: tuple[str, ...], language: str, ring_s: int) -> Receipt:
        return self._meet("announce")

    def find_call(self, to: str, since: datetime, reference: str, body: str = "") -> Found:
        self.asked.append("find")
        assert since == NOW
        if isinstance(self.found, NotificationError):
            raise self.found
        return Found(receipts=self.found, sure=self.sure)

    find_text = find_call

    def hang_up(self, call: Receipt) -> bool:
        self.asked.append(f"hang up {call.id}")
        return True

    def reach(self, number: str) -> frozenset[Reach]:
        return carriers.reach(self.name, number)

    def events(self, url, headers, form, body=b""):
        return [CarrierEvent(kind=CarrierEventKind.STATUS, reference=None, provider_id=self.name)]

    def render(self, prompt: Prompt) -> bytes:
        return self.name.encode()


def refused(**more: object) -> NotificationError:
    return NotificationError("no", **{"permanent": False, **more})  # type: ignore[arg-type]


def server_error() -> NotificationError:
    return refused(ambiguous=True, code="500")


OUT_OF_CREDIT = {"permanent": True, "fault": Fault.ACCOUNT, "code": "20005"}


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def twilio(clocks) -> Played:
    return Played("twilio", clocks)


@pytest.fixture
def solapi(clocks) -> Played:
    return Played("solapi", clocks, speaks_up_front=True)


@pytest.fixture
def both(twilio, solapi, clocks) -> FailoverNotifier:
    return FailoverNotifier((twilio, solapi), stopwatch=clocks, budget_s=4.5, step_s=3.0)


def call(to: str = MOTHER) -> CallRequest:
    return CallRequest(to=to, reference="n1", ring_s=20)


def text(to: str = MOTHER) -> TextRequest:
    return TextRequest(to=to, reference="t1", body="x", valid_s=60)


def test_a_call_is_hung_up_by_the_carrier_that_took_it_and_by_no_other(both, twilio, solapi):
    assert both.hang_up(Receipt(provider="solapi", id="s1"))
    assert (twilio.asked, solapi.asked) == ([], ["hang up s1"])
    assert not both.hang_up(Receipt(provider="telex", id="t1"))


def test_the_first_choice_takes_what_it_can(both, twilio, solapi):
    assert both.place_call(call()) == Receipt(provider="twilio", id="twilio-1")
    assert both.send_text(text()).provider == "twilio"
    assert both.announce(DESK, ("x",), "ko", 20).provider == "twilio"
    assert solapi.asked == []


@pytest.mark.parametrize(
    "trouble",
    [
        refused(code="ConnectTimeout"),
        refused(code="429"),
        refused(**OUT_OF_CREDIT),
        refused(permanent=True, fault=Fault.CARRIER),
        refused(permanent=True, fault=Fault.ROUTE, code="21408"),
    ],
)
def test_the_next_takes_over_at_once_and_the_receipt_says_after_whom(both, twilio, solapi, trouble):
    twilio.script = [trouble]
    assert both.place_call(call()) == Receipt(provider="solapi", id="solapi-1", after=("twilio",))
    assert twilio.asked == ["call"]


def test_a_carrier_that_may_have_acted_is_left_to_be_looked_up_and_the_next_is_asked_then(both, twilio, solapi):
    twilio.script = [server_error()]
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.ambiguous, caught.value.permanent, caught.value.elsewhere) == (True, False, True)
    assert (twilio.asked, solapi.asked) == (["call"], [])
    assert both.place_call(call()).provider == "solapi"


def test_who_is_the_last_to_be_asked_leaves_nobody_else_to_try(both, twilio, solapi):
    twilio.script, solapi.script = [refused(code="429")], [server_error()]
    with pytest.raises(NotificationError) as caught:
        both.send_text(text())
    assert (caught.value.ambiguous, caught.value.elsewhere) == (True, False)


def test_a_wrong_number_is_not_tried_again_by_another_carrier(both, twilio, solapi):
    twilio.script = [refused(permanent=True, fault=Fault.NUMBER, code="21211")]
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.fault, caught.value.permanent, caught.value.provider) == (Fault.NUMBER, True, "twilio")
    assert solapi.asked == []
    assert both.ill() == ()


def test_only_who_reaches_a_number_is_asked(both, twilio, solapi):
    twilio.script = [refused(code="429")]
    with pytest.raises(NotificationError):
        both.place_call(call(NEW_YORK))
    assert solapi.asked == []


def test_a_number_that_nobody_is_declared_to_reach_is_tried_all_the_same(both, twilio):
    assert both.send_text(text(DESK)).provider == "twilio"


def test_an_ill_carrier_is_passed_over_for_a_while_that_doubles(both, twilio, solapi, clocks):
    twilio.takes_s = solapi.takes_s = 0.0
    for rest_s in (REST_S, 2 * REST_S, 4 * REST_S, 8 * REST_S, LONGEST_REST_S, LONGEST_REST_S):
        twilio.script = [refused(**OUT_OF_CREDIT)]
        assert both.place_call(call()).after == ("twilio",)
        clocks.s += rest_s - 0.01
        assert both.ill() == ("twilio",)
        asked = len(twilio.asked)
        assert both.place_call(call()).after == ()
        assert len(twilio.asked) == asked
        clocks.s += 0.02
    assert both.place_call(call()).provider == "twilio"
    twilio.script = [refused(**OUT_OF_CREDIT)]
    both.place_call(call())
    clocks.s += REST_S + 0.01
    assert both.ill() == ()


def test_a_carrier_that_asks_us_to_wait_is_left_alone_for_that_long(both, twilio, clocks):
    twilio.script = [refused(code="429", retry_after_s=90.0)]
    both.place_call(call())
    clocks.s += 89
    assert both.ill() == ("twilio",)
    clocks.s += 2
    assert both.ill() == ()


def test_when_everybody_is_ill_they_are_asked_all_the_same(both, twilio, solapi):
    twilio.script, solapi.script = [refused(**OUT_OF_CREDIT)], [refused(code="429")]
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert caught.value.permanent is False
    assert both.ill() == ("twilio", "solapi")
    assert both.place_call(call()).provider == "twilio"


def test_it_is_hopeless_only_when_it_is_for_every_carrier(both, twilio, solapi):
    twilio.script, solapi.script = [refused(**OUT_OF_CREDIT)], [refused(**OUT_OF_CREDIT)]
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.permanent, caught.value.fault) == (True, Fault.ACCOUNT)
    assert str(caught.value) == "no carrier took the call: twilio=20005 solapi=20005"


def test_the_shortest_wait_is_passed_on_when_everybody_asks_for_one(both, twilio, solapi):
    twilio.script, solapi.script = [refused(code="429", retry_after_s=9.0)], [refused(code="429", retry_after_s=4.0)]
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.retry_after_s, caught.value.permanent) == (4.0, False)


def test_nothing_is_begun_that_would_outlast_the_lease(both, twilio, solapi, clocks):
    twilio.script, twilio.takes_s = [server_error()], 3.0
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.ambiguous, caught.value.permanent) == (True, False)
    assert (twilio.asked, solapi.asked) == (["call"], [])
    assert clocks.s <= 4.5
    # At the next try the one that was slow is resting, and whoever is well is asked first.
    assert both.place_call(call()).provider == "solapi"


def test_a_carrier_that_was_slow_to_refuse_does_not_make_it_hopeless(both, twilio, solapi):
    twilio.script, twilio.takes_s = [refused(**OUT_OF_CREDIT)], 3.0
    with pytest.raises(NotificationError) as caught:
        both.place_call(call())
    assert (caught.value.ambiguous, caught.value.permanent, solapi.asked) == (False, False, [])


def test_an_announcement_that_may_have_been_made_is_made_again(both, twilio):
    twilio.script = [server_error()]
    assert both.announce(DESK, ("x",), "ko", 20).provider == "solapi"
    assert "find" not in twilio.asked


def test_a_search_asks_everybody_and_says_when_it_could_not(both, twilio, solapi):
    assert both.find_call(MOTHER, NOW, "n1") == Found()
    solapi.found = (Receipt(provider="solapi", id="M1"),)
    assert both.find_text(MOTHER, NOW, "t1", "x") == Found(receipts=solapi.found, sure=True)
    twilio.found = refused(ambiguous=True)
    assert both.find_call(MOTHER, NOW, "n1").receipts == solapi.found
    solapi.found = ()
    with pytest.raises(NotificationError) as caught:
        both.find_call(MOTHER, NOW, "n1")
    assert caught.value.ambiguous and caught.value.elsewhere, "the other carrier answers: it can make the call"
    solapi.found = refused(ambiguous=True)
    with pytest.raises(NotificationError) as caught:
        both.find_call(MOTHER, NOW, "n1")
    assert not caught.value.elsewhere


def test_what_one_carrier_knows_for_sure_counts_before_what_another_may_have(both, twilio, solapi):
    twilio.found, twilio.sure = (Receipt(provider="twilio", id="CA1"),), False
    assert both.find_call(MOTHER, NOW, "n1") == Found(receipts=twilio.found)
    solapi.found = (Receipt(provider="solapi", id="M1"),)
    assert both.find_call(MOTHER, NOW, "n1") == Found(receipts=solapi.found, sure=True)


def test_a_callback_is_read_by_the_carrier_that_its_path_names(both):
    for name in ("twilio", "solapi"):
        (event,) = both.events(f"https://ansim.example/v1/telephony/{name}/status/n1", {}, {})
        assert event.provider_id == name
    with pytest.raises(PermissionError):
        both.events("https://ansim.example/v1/telephony/another/status/n1", {}, {})


def test_words_are_rendered_by_who_fetches_them(both, clocks):
    assert both.render(Prompt(language="ko", lines=())) == b"twilio"
    assert both.speaks_up_front
    assert not FailoverNotifier(
        [Played("twilio", clocks)], stopwatch=clocks, budget_s=3, step_s=3
    ).speaks_up_front


def test_together_they_reach_what_any_of_them_does(both):
    assert both.reach(MOTHER) == {Reach.VOICE, Reach.TEXT}
    assert both.reach(NEW_YORK) == {Reach.VOICE, Reach.TEXT, Reach.TEXT_REPLY}
    assert both.name == "twilio,solapi"


def test_a_budget_that_fits_no_request_is_refused(clocks, twilio):
    with pytest.raises(ValueError, match="budget_s must be at least"):
        FailoverNotifier([twilio], stopwatch=clocks, budget_s=2, step_s=3)
    with pytest.raises(ValueError, match="at least one carrier"):
        FailoverNotifier([], stopwatch=clocks, budget_s=4, step_s=3)
