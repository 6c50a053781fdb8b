"""Which parameters Twilio's API description knows for the requests that are built here.

Twilio itself passes over what it does not know; here that is refused, as whoever checks a request against the
description would refuse it. Taken from twilio-python 9.13, which is generated from the description.
"""

from __future__ import annotations

from collections.abc import Iterable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CREATE_CALL = _words(
    """
    To From Method FallbackUrl FallbackMethod StatusCallback StatusCallbackEvent StatusCallbackMethod SendDigits Timeout
    Record RecordingChannels RecordingStatusCallback RecordingStatusCallbackMethod RecordingConfigurationId
    SipAuthUsername SipAuthPassword MachineDetection MachineDetectionTimeout RecordingStatusCallbackEvent Trim CallerId
    MachineDetectionSpeechThreshold MachineDetectionSpeechEndThreshold MachineDetectionSilenceTimeout AsyncAmd
    AsyncAmdStatusCallback AsyncAmdStatusCallbackMethod Passports Byoc CallReason CallToken RecordingTrack TimeLimit
    ClientNotificationUrl Url Twiml ApplicationSid
    """
)
UPDATE_CALL = _words(
    "Url Method Status FallbackUrl FallbackMethod StatusCallback StatusCallbackMethod Twiml TimeLimit"
)
CREATE_MESSAGE = _words(
    """
    To StatusCallback ApplicationSid MaxPrice ProvideFeedback Attempt ValidityPeriod ForceDelivery ContentRetention
    AddressRetention SmartEncoded PersistentAction TrafficType ShortenUrls ScheduleType SendAt SendAsMms
    ContentVariables MessageIntent RiskCheck From FallbackFrom MessagingServiceSid Body MediaUrl ContentSid
    """
)
PAGING = frozenset({"PageSize", "Page", "PageToken"})
LIST_CALLS = PAGING | frozenset(
    f"{name}{suffix}" for name in ("StartTime", "EndTime") for suffix in ("", "<", ">")
) | frozenset({"To", "From", "ParentCallSid", "Status"})
LIST_MESSAGES = PAGING | frozenset({"To", "From", "DateSent", "DateSent<", "DateSent>"})


def unknown(given: Iterable[str], described: frozenset[str]) -> str | None:
    """The first parameter that is not described."""
    return next((name for name in sorted(given) if name not in described), None)
