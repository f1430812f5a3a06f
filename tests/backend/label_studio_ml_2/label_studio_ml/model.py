"""The base class: one object per request, with its state in a text store by project."""

import json

from label_studio_sdk.label_interface import LabelInterface

STORE: dict[tuple[str, str], str] = {}


class LabelStudioMLBase:
    INITIAL_MODEL_VERSION = "0.0.1"

    def __init__(self, project_id=None, label_config=None):
        self.project_id = project_id or ""
        if label_config is not None:
            self.label_interface = LabelInterface(config=label_config)
            self.set("label_config", label_config)
        if not self.model_version:
            self.set("model_version", self.INITIAL_MODEL_VERSION)
        self.setup()

    def setup(self):
        pass

    def get(self, key):
        return STORE.get((self.project_id, key))

    def set(self, key, value):
        if not isinstance(value, str):
            raise ValueError("Value must be a string")  # noqa: TRY004 (as there)
        STORE[self.project_id, key] = value

    def set_extra_params(self, extra_params):
        self.set("extra_params", extra_params)

    @property
    def extra_params(self):
        params = self.get("extra_params")
        return json.loads(params) if params else {}

    @property
    def label_config(self):
        return self.get("label_config")

    @property
    def model_version(self):
        return self.get("model_version")

    def predict(self, tasks, context=None, **kwargs):
        return None

    def process_event(self, event, data, job_id, additional_params):
        return self.fit(event=event, data=data, job_id=job_id, **additional_params)

    def fit(self, event, data, **additional_params):
        return None
