"""How much a better tier could gain on a document, judged by the answer of a faster one."""

from tagalong.ner.document import Prediction


def compute_expected_errors(prediction: Prediction) -> float:
    """Rate a document by how many of its words the faster tier has likely got wrong.

    Args:
        prediction: What the faster tier says.

    Returns:
        The expected number of words with a wrong tag, if confidences are calibrated; where there
        are none, how far the score is from 1.
    """
    if prediction.tag_confidences:
        return sum(1 - confidence for confidence in prediction.tag_confidences)
    return 1 - prediction.score
