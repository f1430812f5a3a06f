"""A process of torchrun that another one stands in for.

Writes its environment to FOLDER/RANK.json, and ends once FOLDER/ended exists.
"""

import json
import os
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
written = folder / f"{os.environ['RANK']}.new"
written.write_text(json.dumps(dict(os.environ)), encoding="utf-8")
written.rename(folder / f"{os.environ['RANK']}.json")
while not (folder / "ended").exists():
    time.sleep(0.1)
