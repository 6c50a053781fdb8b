"""Push messages to browsers: who is told, what stays on the screen, and what a tap opens."""

from __future__ import annotations

from uuid import UUID

from journey_stage import Stage

from dispatch.notifier import Fault, NotificationError, PushRequest
from service.workflows import browsers
from service.workflows.browsers import Browser, BrowserKeys

KEYS = BrowserKeys(  # of the example in RFC 8291, section 5
    p256dh="BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    auth="BTBZMqHH6r4Tts7J_aSIgg",
)


class Pushes:
    name, public_key = "pushes", "BKey"

    def __init__(self) -> None:
        self.sent: list[PushRequest] = []
        self.broken = False

    def push(self, request: PushRequest) -> str:
        if self.broken:
            raise NotificationError("away", permanent=True, fault=Fault.CARRIER)
        self.sent.append(request)
        return request.reference

    def to(self, endpoint: str) -> list[PushRequest]:
        return [one for one in self.sent if one.subscription["endpoint"] == endpoint]


def subscribe(stage: Stage, person_id: UUID, name: str) -> str:
    endpoint = f"https://push.example/{name}"
    browsers.add(stage.house, person_id, Browser(endpoint=endpoint, keys=KEYS))
    return endpoint


def test_dispatchers_browsers_are_told_while_the_desks_telephone_rings(stage: Stage) -> None:
    stage.house.pusher = pushes = Pushes()
    stage.desk.rings_out()
    on_duty, elsewhere = stage.staff("이서연", "dispatcher"), stage.staff("강태호", "operator")
    desk, other = (subscribe(stage, one.person_id, name) for one, name in ((on_duty, "desk"), (elsewhere, "operator")))
    home = stage.home()
    home.phone.rings_out()
    home.band.sos()
    stage.settle()
    [told] = pushes.to(desk)
    [incident] = stage.incidents(home)
    assert (told.path, told.stays) == (f"/incidents/{incident.id}", True)
    assert home.name not in told.title + told.body
    assert pushes.to(other) == []
    assert len(stage.desk.calls) == 1
    on_duty.act(incident.id, "acknowledge")
    stage.finish_calls()
    stage.advance(600)
    assert len(pushes.to(desk)) == 1
