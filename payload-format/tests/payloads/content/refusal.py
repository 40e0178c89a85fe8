"""The end of a reader that was given something else than what is documented."""

import sys


def fail(why):
    sys.exit(f"refused: {why}")
