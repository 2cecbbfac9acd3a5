"""A few attacks of each campaign; `python -m results.reliability` runs all of them."""

import json

from results.reliability import campaign
from results.reliability.calls import Calls
from results.reliability.data import Data
from results.reliability.folders import Folders
from results.reliability.kills import Kills
from tests.processes import forked

FEW = ((Kills, "FactorVAE", 4), (Folders, "rich", 6), (Data, None, 8), (Calls, None, 9))


def attack(path):
    rows = []
    for kind, argument, count in FEW:
        chosen, row = kind(argument) if argument else kind(), campaign.Row()
        for _ in campaign.run(chosen, count, row):
            pass
        rows.append({"name": chosen.name} | vars(row))
    path.write_text(json.dumps(rows))


def test_attacks_hold(tmp_path):
    # From a process of one thread, from which the attacks are forked.
    assert forked(attack, tmp_path / "rows.json") == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in rows] == ["kills", "folders", "data", "calls"]
    for row in rows:
        assert row["failures"] == [], row["name"]
        assert row["trials"] == row["held"] >= 4
