"""A parser of HTML pages for tests."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr"}
LINKS = {"href", "src", "srcset", "action", "data", "poster", "formaction", "cite", "background"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}</table>\u202e"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks the nesting of elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).partition("</style>")[0].split())

    def values(self, name: str) -> list[str | None]:
        return [value for _, found, value in self.attributes if found == name]
