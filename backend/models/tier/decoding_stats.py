"""Counts of the work that decoding takes."""

from dataclasses import asdict, astuple, dataclass


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """Counts that add up over documents.

    Attributes:
        documents: Documents decoded.
        passes: Model calls in sequence, summed over windows.
        slots: Words tagged.
        tokens: Tokens run through the model, without padding and the shared prefix.
        accepted: Slots whose drafted tag was right.
    """

    documents: int = 0
    passes: int = 0
    slots: int = 0
    tokens: int = 0
    accepted: int = 0

    def __add__(self, other: "DecodingStats") -> "DecodingStats":
        """The counts of both."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return DecodingStats(*(ours + theirs for ours, theirs in pairs))

    def __sub__(self, other: "DecodingStats") -> "DecodingStats":
        """The counts since an earlier state."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return DecodingStats(*(ours - theirs for ours, theirs in pairs))

    def to_json(self) -> dict[str, int]:
        """The counts under the names that reports and Prometheus series have always used."""
        counts = asdict(self)
        counts["agreed"] = counts.pop("accepted")
        return counts
