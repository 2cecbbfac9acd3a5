"""Scripts of several parts, whose results are written as they come."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pvae.storage.files import write


def options_of(doc: str, parts: Iterable[str], folder: Path) -> argparse.Namespace:
    """Read which parts to run, by default all, and the folder for JSON and figures."""
    names = ", ".join(parts)
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {names}; by default all")
    parser.add_argument("--out", type=Path, default=folder, help="folder of JSON and figures")
    options = parser.parse_args()
    if not set(options.parts) <= set(parts):
        parser.error(f"the parts are {names}, not {' '.join(options.parts)}.")
    options.parts = options.parts or list(parts)
    return options


def read(file: Path) -> dict[str, Any]:
    """What earlier runs wrote."""
    return json.loads(file.read_text()) if file.exists() else {}


def run(
    part: str, rows: Iterable[tuple[str, Mapping[str, Any]]], results: dict[str, Any], file: Path
) -> None:
    """Print the rows of a part as they come, and write all results with each."""
    results[part] = {}
    for name, row in rows:
        results[part][name] = rounded(row)
        print(part, name, json.dumps(results[part][name]), flush=True)
        write(file, (json.dumps(results, indent=2) + "\n").encode())


def rounded(value: Any) -> Any:
    """To six digits, whatever the size: p-values may be tiny."""
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
