"""From raw annotations to spans of a text: validation, adjudication, and a log of what was lost."""
