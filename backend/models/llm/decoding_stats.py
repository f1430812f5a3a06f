"""What decoding takes, counted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodingStats:
    """What decoding took; adds up.

    Attributes:
        documents: Decoded.
        passes: Model calls in sequence, summed over windows.
        slots: Words that were tagged.
        tokens: Run through the model, without padding and shared prefix.
        agreed: Slots whose draft was right.
    """

    documents: int = 0
    passes: int = 0
    slots: int = 0
    tokens: int = 0
    agreed: int = 0

    def __add__(self, other: "DecodingStats") -> "DecodingStats":
        """The cost of both."""
        return DecodingStats(
            self.documents + other.documents,
            self.passes + other.passes,
            self.slots + other.slots,
            self.tokens + other.tokens,
            self.agreed + other.agreed,
        )

    def __sub__(self, other: "DecodingStats") -> "DecodingStats":
        """What was added since."""
        return DecodingStats(
            *(getattr(self, name) - getattr(other, name) for name in self.__slots__)
        )
