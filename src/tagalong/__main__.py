"""``python -m tagalong``: the command line, for launchers that start a module."""

from tagalong.cli.main import main

if __name__ == "__main__":
    main()
