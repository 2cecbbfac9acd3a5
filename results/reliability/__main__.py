"""Runs the campaigns, prints a row of each, and writes results/reliability.json.

python -m results.reliability [NAME ...] [--count N] [--restart]
"""

import argparse

from results.machine import machine
from results.reliability import campaign
from results.reliability.calls import Calls
from results.reliability.data import Data
from results.reliability.folders import Folders
from results.reliability.kills import Kills

CAMPAIGNS = {c.name: c for c in (Kills(), Folders(), Data(), Calls())}


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m results.reliability")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)}")
    parser.add_argument("--count", type=int, help="attacks of each; by default those of a full run")
    parser.add_argument("--restart", action="store_true", help="begin at 0, do not resume")
    options = parser.parse_args()
    unknown = set(options.names) - CAMPAIGNS.keys()
    if unknown:
        parser.error(f"there is no campaign {unknown.pop()}: choose of {', '.join(CAMPAIGNS)}")
    print(f"{'campaign':<10}{'trials':>7}{'held':>8}{'failed':>8}{'time':>11}  outcomes")
    for name in options.names or CAMPAIGNS:
        chosen = CAMPAIGNS[name]
        row = campaign.Row() if options.restart else campaign.read().get(name, campaign.Row())
        for _ in campaign.run(chosen, options.count or chosen.count, row):
            campaign.write(name, row, machine())
            print(f"\r{campaign.show(name, row)}", end="", flush=True)
        print(f"\r{campaign.show(name, row)}")
        for failure in row.failures:
            print(f"  {failure['number']} {failure['case']}: {failure['kind']}: {failure['said']}")


if __name__ == "__main__":
    main()
