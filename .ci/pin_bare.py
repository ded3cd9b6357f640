"""Pin the packages of lock files that have extras without these, too.

With hashes, pip takes a pin with extras for another package than the one that a dependency needs without them, and
installs nothing once a newer version is out. Usage: pin_bare.py LOCK…"""

import re
import sys
from pathlib import Path

for lock in map(Path, sys.argv[1:]):
    pin = r"^([\w.-]+)\[[^\]]+\](==.+\n(?:    --hash=.+\n)+)"
    lock.write_text(re.sub(pin, lambda found: f"{found[1]}{found[2]}{found[0]}", lock.read_text(), flags=re.M))
