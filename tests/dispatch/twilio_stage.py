"""An account and its numbers for the tests of the Twilio adapter."""

from __future__ import annotations

from dispatch.twilio_notifier import TwilioNotifier

SID, TOKEN = "AC" + "3" * 32, "a-token-for-tests"
OURS, MOTHER = "+8221234567", "+821011112222"
PUBLIC = "https://ansim.example"


def offline(public: str = PUBLIC) -> TwilioNotifier:
    return TwilioNotifier(SID, TOKEN, OURS, public)
