"""Files of text: opened once, read by several readers, and checked to be UTF-8."""

import codecs
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from tagalong.ner.errors import FormatError, InputError

CHUNK_BYTES = 1 << 20  # read at once by the checks of the whole file
HEAD_BYTES = 1 << 16  # for formats that are recognized by their first lines
STREAM_BUFFER_BYTES = 1 << 16  # each refill is a call of Python
UTF16_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell's > writes
UTF32_BYTE_ORDER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)  # the first begins like UTF-16
UTF32_CODECS = ("utf-32-le", "utf-32-be")
MIN_LATIN_SHARE = 2  # one in so many characters of a UTF-16 file is Latin
# Files that are no text, though some are ASCII, with a name and what to do.
OTHER_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF file: save its text as UTF-8"),
    (b"{\\rtf", "an RTF file: save its text as UTF-8"),
    (b"PK\x03\x04", "a ZIP archive, as DOCX and XLSX files are: unpack it, or save it as text"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
)
LINE_END_PATTERN = re.compile(r"\r\n|\n|\r")


class _Cursor(io.RawIOBase):
    """Reads an open file from a position of its own, so that several readers can share it."""

    def __init__(self, descriptor: int, position: int) -> None:
        self._descriptor, self._position = descriptor, position

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


class TextFile(AbstractContextManager["TextFile"]):
    """A file that is opened once and read any number of times, even by several readers at once.

    A folder has no stream of its own, but `list_files`.

    Raises:
        InputError: If it cannot be opened, or is a pipe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_folder = path.is_dir()
        self._file: IO[bytes] | None = None
        if self.is_folder:
            return
        try:
            # To open a pipe would wait for its writer.
            self._file = None if path.is_fifo() else path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror}", code="file-unreadable"
            ) from error
        if self._file is None or not self._file.seekable():
            self.close()
            raise InputError(
                f"{path} is a pipe, but is read more than once: save it to a file",
                code="file-is-a-pipe",
            )
        mark = os.pread(self._file.fileno(), len(codecs.BOM_UTF8), 0)
        self._start = len(mark) if mark == codecs.BOM_UTF8 else 0

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its streams cannot be read any more."""
        if self._file is not None:
            self._file.close()

    def open_stream(self) -> IO[bytes]:
        """A new stream from the start of the text, after a byte order mark."""
        assert self._file is not None  # noqa: S101 (formats of folders open the files in them)
        return io.BufferedReader(_Cursor(self._file.fileno(), self._start), STREAM_BUFFER_BYTES)

    @property
    def ends_within_line(self) -> bool:
        """Whether the last line has no end, so that it may be cut off."""
        assert self._file is not None  # noqa: S101 (only files have lines)
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, 1, max(size - 1, 0)) not in (b"\n", b"\r")

    def open_lines(self) -> Iterator[bytes]:
        """The lines with their ends: LF, CRLF, or CR as in old Macintosh files, and no others."""
        return split_lines(self.open_stream())

    def list_files(self, *suffixes: str) -> list[Path]:
        """The files of a folder and all folders in it, by their endings, such as ``.ann``.

        Letter case of endings does not matter. The order is that of the paths. Hidden files and
        folders are left out, and linked folders are read once. Without endings, all files are
        listed.

        Raises:
            InputError: If a folder cannot be read.
        """
        endings = {suffix.lower() for suffix in suffixes}
        files = (Path(name) for name in self._file_names)
        return [one for one in files if not endings or one.suffix.lower() in endings]

    @cached_property
    def _file_names(self) -> list[str]:
        # Strings, because a folder may have a million files.
        def refuse(error: OSError) -> None:
            raise InputError(
                f"{error.filename} cannot be read: {error.strerror}", code="file-unreadable"
            ) from error

        names, seen = [], set[str]()
        for folder, inner, files in os.walk(self.path, onerror=refuse, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:  # links may lead back
                inner.clear()
                continue
            seen.add(real)
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            names += [str(Path(folder, name)) for name in files if not name.startswith(".")]
        return sorted(names)


def split_lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Split the lines of a binary stream at CR too.

    Other marks, such as U+2028, may stand in the text of a record.
    """
    for line in stream:
        if b"\r" in line:
            yield from line.splitlines(keepends=True)  # of bytes, it splits at LF, CRLF and CR
        else:
            yield line


def check_utf8(stream: IO[bytes], name: object) -> None:
    """Read a stream to its end; FormatError, with the place, if it is not UTF-8 text.

    A text has no NUL. So UTF-16 without a byte order mark, whose bytes can be UTF-8, is not read.
    """
    decoder, done = codecs.getincrementaldecoder("utf-8")(), 0
    # The last chunk is empty: it ends the file, perhaps within a character.
    for chunk in chain(iter(partial(stream.read, CHUNK_BYTES), b""), [b""]):
        for mark, advice in () if done else OTHER_STARTS:
            if chunk.startswith(mark):
                raise FormatError(f"{name} is {advice}", code="file-not-text")
        if not done and (encoding := _find_wide_encoding(chunk)):
            code = encoding.lower().replace("-", "")
            raise FormatError(f"{name} is {encoding}: save it as UTF-8", code=f"file-{code}")
        if (nul := chunk.find(b"\0")) >= 0:
            raise FormatError(
                f"{name} has a NUL byte at position {done + nul:,}: it is a binary file, or "
                "damaged; give a text file",
                code="file-binary",
            )
        pending, _ = decoder.getstate()  # the first bytes of a character that the last chunk cut
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{name} is not UTF-8 from byte {done - len(pending) + error.start:,} on: "
                "save it as UTF-8, because offsets cannot be trusted in a guessed encoding",
                code="file-not-utf8",
            ) from error
        done += len(chunk)


def read_whole_text(path: Path) -> str:
    """Read a file of a folder, without its byte order mark; it may be empty.

    Raises:
        InputError: If it cannot be read, or is not UTF-8 text.
    """
    with TextFile(path) as file:
        if file.is_folder:
            raise InputError(f"{path} is a folder, not a file", code="folder-in-place-of-file")
        check_utf8(file.open_stream(), path)
        return file.open_stream().read().decode()


def _find_wide_encoding(start: bytes) -> str | None:
    if start.startswith(UTF32_BYTE_ORDER_MARKS):
        return "UTF-32"
    if start.startswith(UTF16_BYTE_ORDER_MARKS):
        return "UTF-16"
    # Without a byte order mark, every other byte of Latin script is NUL.
    head = start[:HEAD_BYTES]
    nuls = sorted((head[::2].count(0), head[1::2].count(0)))
    if nuls[0] == 0 and nuls[1] * MIN_LATIN_SHARE > len(head) // 2:
        return "UTF-16"
    # No other text can be decoded so: its characters would be larger than any.
    return "UTF-32" if nuls[1] and any(_is_text(head, codec) for codec in UTF32_CODECS) else None


def _is_text(content: bytes, codec: str) -> bool:
    try:
        return "\0" not in content.decode(codec)
    except UnicodeDecodeError:
        return False
