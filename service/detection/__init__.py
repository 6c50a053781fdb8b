"""Detection: pure NumPy and SciPy from readings to alarm conditions."""

from service.detection.analysis import Analysis, analyse
from service.detection.events import event_conditions
from service.detection.layers import Wearer
from service.detection.limits import PersonSettings
from service.detection.quality import Quality, Reason
from service.detection.silence import next_check_at, silence_condition
from service.detection.status import News2Now, Status, VitalNow, current_status

__all__ = [
    "Analysis",
    "News2Now",
    "PersonSettings",
    "Quality",
    "Reason",
    "Status",
    "VitalNow",
    "Wearer",
    "analyse",
    "current_status",
    "event_conditions",
    "next_check_at",
    "silence_condition",
]
