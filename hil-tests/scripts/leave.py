"""Ends the interpreter without cleaning up, for every script that imports this: grpcio's threads deadlock or crash now and
then when what they use is cleaned up under them."""

import atexit
import os
import sys


@atexit.register
def leave():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if hasattr(sys, "last_value") else 0)
