"""What a relay logs, for machines to read. Nothing in it says who did what: no address, no mailbox."""

from __future__ import annotations

import json
import logging


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, what, by which rule, and how often."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": int(record.created * 1000),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
        }
        for name in ("rule", "count"):
            if fact := getattr(record, name, ""):
                said[name] = fact
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
        return json.dumps(said)
