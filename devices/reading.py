"""What a device posts and what becomes of it: the names that other rooms use.

The table of vital signs is in `vitals`, batches in `batch`, verdicts in `verdicts`; `wire` decodes an upload,
`upload` and `streams` judge it, and `dating` corrects its times.
"""

from __future__ import annotations

from devices.batch import Batch, Beats, Event, EventKind, Waveform
from devices.upload import Parsed, parse
from devices.verdicts import Dropped, Verdict, VerdictBook
from devices.vitals import COLUMNS, INDEX, Column
from devices.wire import MAX_BODY_BYTES, MAX_INSTANTS, UploadError, WireUpload

__all__ = [
    "COLUMNS",
    "INDEX",
    "MAX_BODY_BYTES",
    "MAX_INSTANTS",
    "Batch",
    "Beats",
    "Column",
    "Dropped",
    "Event",
    "EventKind",
    "Parsed",
    "UploadError",
    "Verdict",
    "VerdictBook",
    "Waveform",
    "WireUpload",
    "parse",
]
