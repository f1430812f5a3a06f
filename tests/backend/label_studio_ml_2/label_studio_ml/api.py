"""The routes that Label Studio calls."""

from flask import Flask, jsonify, request

from .model import LabelStudioMLBase
from .response import ModelResponse

TRAIN_EVENTS = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING"}


def init_app(model_class, basic_auth_user=None, basic_auth_pass=None):
    if not issubclass(model_class, LabelStudioMLBase):
        raise ValueError("Inference class should be the subclass of LabelStudioMLBase")  # noqa: TRY004 (as there)
    app = Flask(__name__)

    @app.get("/health")
    def health():
        return jsonify(status="UP", model_class=model_class.__name__)

    @app.post("/setup")
    def setup():
        body = request.json
        project = body.get("project").split(".", 1)[0]
        model = model_class(project_id=project, label_config=body.get("schema"))
        if body.get("extra_params"):
            model.set_extra_params(body["extra_params"])
        return jsonify(model_version=model.get("model_version"))

    @app.post("/predict")
    def predict():
        body = request.json
        params = body.get("params", {})
        context = params.pop("context", {})
        project = str(body.get("project")).split(".", 1)[0]
        model = model_class(project_id=project, label_config=body.get("label_config"))
        response = model.predict(body.get("tasks"), context=context, **params)
        assert isinstance(response, list | ModelResponse)
        if isinstance(response, ModelResponse):
            response = response.model_dump()["predictions"]
        return jsonify(results=response)

    @app.post("/webhook")
    def webhook():
        body = request.json
        event = body.pop("action")
        if event not in TRAIN_EVENTS:
            return jsonify(status="Unknown event"), 200
        project = body["project"]
        model = model_class(str(project["id"]), label_config=project["label_config"])
        return jsonify(result=model.fit(event, body), status="ok"), 201

    return app
