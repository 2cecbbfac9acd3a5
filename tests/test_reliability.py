"""A few attacks of each campaign; `python -m results.reliability` runs all of them."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEW = """
import json
from results.reliability import campaign
from results.reliability.calls import Calls
from results.reliability.data import Data
from results.reliability.folders import Folders
from results.reliability.kills import Kills

for chosen, count in (
    (Kills("FactorVAE"), 4),
    (Folders("rich"), 6),
    (Data(), 8),
    (Calls(), 18),
):
    row = campaign.Row()
    for row in campaign.run(chosen, count, row):
        pass
    print(json.dumps({"name": chosen.name} | vars(row)))
"""


def test_attacks_hold():
    # A separate process, from which the attacks are forked.
    done = subprocess.run(
        [sys.executable, "-c", FEW], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == ["kills", "folders", "data", "calls"]
    for row in rows:
        assert row["failures"] == [], row["name"]
        assert row["trials"] == row["held"] >= 4
