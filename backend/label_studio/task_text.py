"""Reading a task's text exactly as Label Studio's editor does, which counts offsets in it.

The editor (1.23, ``tags/object/RichText/model.js``) shows the data as they are, decodes them with
``atob``, or fetches them. It strips and normalises nothing, so neither do we.
"""

import re
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tagalong.backend.label_studio.fetch import (
    Fetcher,
    parse_allowed_host,
    parse_web_address,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import (
    TEXT_RANGES_KEY,
    UNDEFINED_KEY,
    VARIABLE,
    find_value,
    format_names,
    to_shown_text,
)
from tagalong.backend.label_studio.stored_files import StoredFiles
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError
from tagalong.ner.text_sanitizing import reject_lone_surrogates

TEXT_SEPARATOR = "\n"  # between the texts of a task
MAX_JOINED_CHARACTERS = 10_000_000  # of the values in a template, which may repeat them
BASE64_WHITESPACE = re.compile(r"[\t\n\f\r ]")  # ignored by atob
MAX_ID_CHARACTERS = 60  # of an id in a message; a longer one may be a text
BASE64_DIGITS = re.compile(r"[A-Za-z0-9+/]*")
JSON_TYPE_NAMES = {
    type(None): "nothing",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def describe_task(task_id: str) -> str:
    """Name a task in a message; a long id may hold a text."""
    return f"task {task_id}" if 0 < len(task_id) <= MAX_ID_CHARACTERS else "task without an id"


@dataclass(frozen=True, slots=True)
class TaskTextReader:
    """Reads the texts of tasks."""

    allowed_hosts: frozenset[str] = frozenset()  # as HOST, for the default ports, or HOST:PORT
    # Base of addresses such as /data/upload/...; its host must be among the allowed ones.
    label_studio_url: str | None = field(default=None, kw_only=True)
    # Returns Label Studio's Authorization; it is sent only with requests for files of tasks.
    authorization: Callable[[], str] | None = field(default=None, kw_only=True, repr=False)
    _fetcher: Fetcher = field(default_factory=Fetcher, init=False, repr=False, compare=False)
    _stored_files: StoredFiles | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse hosts and address, so that a mistake shows when the server starts."""
        url = self.label_studio_url
        parsed = {
            "allowed_hosts": frozenset(map(parse_allowed_host, self.allowed_hosts)),
            "_stored_files": None if url is None else StoredFiles.parse(url),
        }
        for name, value in parsed.items():
            object.__setattr__(self, name, value)  # the instance is frozen

    def read_document(
        self, task: Mapping[str, Any], config: LabelConfig, *, where: str = ""
    ) -> Document:
        """Read the text of a task as a document, whose id is the task id.

        Raises:
            InputError: If there is no text under the config's data key, or it cannot be decoded or
                fetched. The message names the task, as `where` or by its id, and quotes nothing of
                its text.
        """
        task_id = task.get("id")
        name = str(task_id) if isinstance(task_id, str | int) else ""  # others may hold texts
        where = where or describe_task(name)
        texts = self._read_texts(task.get("data"), config, where)
        if not config.other_texts:
            return Document(name, texts[0])
        # One document, so that models see all texts of a task, and annotators one prediction.
        starts = accumulate((len(value) + len(TEXT_SEPARATOR) for value in texts), initial=0)
        ranges = {
            text.object: [start, start + len(value)]
            for text, value, start in zip(config.texts, texts, starts, strict=False)
        }
        return Document(name, TEXT_SEPARATOR.join(texts), meta={TEXT_RANGES_KEY: ranges})

    def _read_texts(self, data: object, config: LabelConfig, where: str) -> list[str]:
        # One for each <Text>. The editor shows a missing one as empty, but one must be there.
        fields = data if isinstance(data, dict) else {}
        every = (config, *config.other_texts)
        present = [text for text in every if _has_value(fields, text)] or [config]
        if UNDEFINED_KEY in fields and config not in present:
            present.append(config)
        texts = []
        for text in every:
            if text not in present:
                texts.append("")
                continue
            value = _read_value(fields, text, where)
            try:
                texts.append(reject_lone_surrogates(self._decode_value(value, text), where))
            except FormatError:
                raise
            except InputError as error:
                raise InputError(f"{where}: {error}", code=error.code) from error
        return texts

    def _decode_value(self, value: str, config: LabelConfig) -> str:
        match config.text_encoding:
            case "text":
                return value
            case "url":
                # A browser's fetch().text() decodes as UTF-8 whatever the header says, drops one
                # byte order mark, and replaces broken bytes by U+FFFD.
                return self._fetch(value).removeprefix(BOM_UTF8).decode(errors="replace")
            case "base64":
                return _atob(value).decode("latin-1")  # one character per byte
            case "base64unicode":
                try:
                    return _atob(value).decode()
                except UnicodeDecodeError as error:  # atobUnicode refuses broken bytes too
                    raise InputError(
                        'its text is base64, but not of UTF-8, as encoding="base64unicode" says: '
                        "import it again",
                        code="text-not-utf8",
                    ) from error

    def _fetch(self, value: str) -> bytes:
        address = parse_web_address(self._make_absolute(value))
        stored_files = self._stored_files
        is_label_studio = stored_files is not None and stored_files.is_on_host(address)
        if stored_files is not None and is_label_studio:
            address = stored_files.find_file(address)
        if not address.is_allowed(self.allowed_hosts):
            raise InputError(
                f"its text is on {address.netloc}, which is not among the hosts that texts may be "
                "fetched from: allow it when the server is started, or import the plain text",
                code="text-host-not-allowed",
            )
        headers = {"Accept": "text/plain, */*", "User-Agent": "tagalong"}
        if is_label_studio and self.authorization is not None:
            headers["Authorization"] = self.authorization()
        return self._fetcher.fetch(address, headers)

    def _make_absolute(self, value: str) -> str:
        if not value.startswith("/"):  # as in the editor, no other address is relative
            return value
        if self._stored_files is None:
            raise InputError(
                "its text is in Label Studio's own files, and the server does not know the address "
                "of Label Studio: give it when the server is started, or import the plain text",
                code="label-studio-url-missing",
            )
        return self._stored_files.make_absolute(value)


def _has_value(fields: Mapping[str, Any], config: LabelConfig) -> bool:
    return bool(config.template) or find_value(fields, config.data_key) is not None


def _read_value(fields: Mapping[str, Any], config: LabelConfig, where: str) -> str:
    if config.template and config.data_key not in fields:
        return _fill_template(fields, config.template, where)
    for key in (config.data_key, UNDEFINED_KEY):
        if (text := to_shown_text(find_value(fields, key))) is not None:
            return text
    raise _missing_text(fields, config.data_key, where)


def _fill_template(fields: Mapping[str, Any], template: str, where: str) -> str:
    # As the editor does, which shows "undefined" for a missing value.
    keys = [variable[1:] for variable in VARIABLE.findall(template)]
    texts = {key: to_shown_text(find_value(fields, key)) for key in keys}
    missing = next((key for key in keys if texts[key] is None), None)
    if missing is not None:
        raise _missing_text(fields, missing, where, template)
    if (length := sum(len(texts[key] or "") for key in keys)) > MAX_JOINED_CHARACTERS:
        raise InputError(
            f"{where} has values of {length:,} characters for the text of the labelling config, "
            f"more than {MAX_JOINED_CHARACTERS:,}: name fewer keys in it",
            code="joined-text-too-long",
        )
    return VARIABLE.sub(lambda found: texts[found[0][1:]] or "", template)


def _missing_text(
    fields: Mapping[str, Any], key: str, where: str, template: str = ""
) -> FormatError:
    kind = JSON_TYPE_NAMES.get(type(find_value(fields, key)), "a number")
    # The key is a part of the template, perhaps one that nobody meant as a key.
    of_value = f" of value={template!r:.60}" if template else ""
    return FormatError(
        f"{where} has {kind} under {key!r}{of_value}, where the labelling config expects the "
        f"text; its data have {format_names(fields)}: import the text under that key, or name the "
        "right key in the labelling config",
        code="task-without-text",
    )


def _atob(value: str) -> bytes:
    # As the browser's atob does: https://infra.spec.whatwg.org/#forgiving-base64
    digits = BASE64_WHITESPACE.sub("", value)
    if len(digits) % 4 == 0:
        digits = digits.removesuffix("=").removesuffix("=")
    if len(digits) % 4 == 1 or not BASE64_DIGITS.fullmatch(digits):
        raise InputError(
            "its text is not base64, as the labelling config says: import it again",
            code="text-not-base64",
        )
    return b64decode(digits + "=" * (-len(digits) % 4))
