"""The order in which a cascade sends documents to its second model."""

from tagalong.ner.document import Prediction


def compute_expected_errors(prediction: Prediction) -> float:
    """Estimate how many words of a document have a wrong tag.

    Args:
        prediction: By the first model.

    Returns:
        The expected number of wrong words, if confidences are calibrated. Without confidences,
        1 minus the score.
    """
    if prediction.tag_confidences:
        return sum(1 - confidence for confidence in prediction.tag_confidences)
    return 1 - prediction.score
