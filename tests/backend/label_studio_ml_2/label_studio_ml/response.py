"""The other form of an answer."""

from pydantic import BaseModel


class ModelResponse(BaseModel):
    model_config = {"protected_namespaces": ()}

    model_version: str | None = None
    predictions: list
