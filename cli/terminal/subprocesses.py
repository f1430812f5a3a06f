"""Tagalong as a command that it runs in processes of its own."""

import sys

# Without -P, a folder named backend or training where somebody works would come before our own.
TAGALONG_COMMAND = (sys.executable, "-P", "-m", "tagalong")
RETRAINING_COMMAND = (sys.executable, "-P", "-m", "tagalong.training.jobs")
