"""Write the JSON Schema of exports, from the types of exchange/exported.py; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from quire.exchange.exported import schema

PATH = Path(__file__).parent.parent / "src" / "quire" / "exchange" / "export.schema.json"


def main() -> int:
    if "--check" in sys.argv[1:]:
        return int(PATH.read_bytes() != schema())
    PATH.write_bytes(schema())
    return 0


if __name__ == "__main__":
    sys.exit(main())
