"""``python -m cli``: the same as ``tagalong``, for launchers that start a module."""

from cli.main import main

main()
