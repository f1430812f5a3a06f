"""``tagalong serve`` with a lexicon tagger, on a disk that another process may make faulty.

Usage: serve_lexicon.py SOCKET ARGUMENT...; the other process listens at SOCKET, "-" for none.
"""

import os
import socket
import sys
from collections.abc import Sequence

import tagalong.backend.server.service
from tagalong.cli.main import main
from tests.faulty_disk import ask_before_changes
from tests.lexicon_tagger import LexiconTagger


def serve(address: str, arguments: Sequence[str]) -> None:
    if address != "-":
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(address)
            listener = ask_before_changes()
            socket.send_fds(other, [b"\0"], [listener])
            os.close(listener)
    tagalong.backend.server.service.load_tagger = lambda folder, **_: LexiconTagger(folder.name)  # type: ignore[assignment]
    main(["serve", *arguments])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
