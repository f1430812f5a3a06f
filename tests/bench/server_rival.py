"""The same model in plain Flask with a Hugging Face pipeline, as most backends are written.

gunicorn starts it. RIVAL_MODEL is a folder with the whole model, as `save_pretrained` writes it.

"""

import os
from statistics import fmean
from typing import Any

from flask import Flask, Response, jsonify, request
from transformers import pipeline

app = Flask(__name__)
tagger = pipeline(
    "token-classification", model=os.environ["RIVAL_MODEL"], aggregation_strategy="simple"
)


@app.get("/health")
def health() -> Response:
    return jsonify(status="UP", version="rival")


@app.post("/predict")
def predict() -> Response:
    tasks = request.get_json()["tasks"]
    return jsonify(results=[answer(task["data"]["text"]) for task in tasks])


def answer(text: str) -> dict[str, Any]:
    """A prediction in Label Studio's format."""
    entities = tagger(text)
    regions = [
        {
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "score": float(entity["score"]),
            "value": {
                "start": int(entity["start"]),
                "end": int(entity["end"]),
                "text": text[entity["start"] : entity["end"]],
                "labels": [entity["entity_group"]],
            },
        }
        for entity in entities
    ]
    scores = [float(entity["score"]) for entity in entities]
    return {"model_version": "rival", "score": fmean(scores or [0.0]), "result": regions}
