"""What must not go the short way: small signs that only together, or only beside the value before, mean something."""

from __future__ import annotations

import numpy as np
import pytest
from detection_rows import Wearer, batch

MINUTES = 60 * np.arange(20)


@pytest.mark.parametrize(
    "levels",
    [
        {"hr": 95, "spo2": 92, "resp": 22},  # 1 + 2 + 2 points of NEWS2
        {"hr": 95, "spo2": 95, "resp": 10, "temp": 38.5, "sys": 105},  # one point each
    ],
)
def test_five_points_together_alarm_although_no_value_does(levels: dict[str, float]) -> None:
    one = Wearer()
    one.post(batch(MINUTES, **levels))
    assert one.codes == ["news2_medium"]


def test_a_leap_between_two_harmless_values_is_doubted() -> None:
    result = Wearer().post(batch(np.arange(10), hr=[60.0] * 5 + [95.0] * 5))
    assert result.quality.max() == 1
    assert list(result.reasons.values()) == ["heart_rate_bpm=rate_of_change"]
