"""Options of ``tagalong serve``."""

from typing import Annotated

import typer

from tagalong.backend.models.base_models.load_options import WeightsMode
from tagalong.backend.models.openvino import OPENVINO_SWITCH
from tagalong.backend.retraining.job import PromotionPolicy

UsernameOption = Annotated[
    str | None,
    typer.Option(envvar="TAGALONG_USERNAME", help="User name for HTTP basic authentication."),
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        envvar="TAGALONG_PASSWORD",
        help="Password for HTTP basic authentication; better set in the environment.",
    ),
]
WebhookSecretOption = Annotated[
    str | None,
    typer.Option(
        envvar="TAGALONG_WEBHOOK_SECRET",
        help="Secret that webhook requests must send in the header X-Tagalong-Secret.",
    ),
]
ServerNamesOption = Annotated[
    str,
    typer.Option(
        envvar="TAGALONG_SERVER_NAMES",
        help="Names of this server in the URLs of its clients, separated by commas, beside "
        "localhost.",
        show_default="any, or on a loopback address none",
    ),
]
LabelStudioURLOption = Annotated[
    str | None,
    typer.Option(
        envvar="LABEL_STUDIO_URL",
        help="Address of Label Studio, for retraining and for texts in its own files; its host "
        "must be in --allowed-hosts.",
    ),
]
LabelStudioKeyOption = Annotated[
    str | None,
    typer.Option(
        envvar="LABEL_STUDIO_API_KEY",
        help="API token of Label Studio, for retraining and for texts in its own files.",
    ),
]
MaxCharactersOption = Annotated[int, typer.Option(min=1, help="Maximum characters per text.")]
LLMWeightsOption = Annotated[
    WeightsMode | None,
    typer.Option(
        envvar="TAGALONG_LLM_WEIGHTS",
        help="Memory layout of the LLM. The adapter is merged into its base (fastest), beside it "
        "(promotions do not reload the base), or beside a 4-bit base (least memory).",
        show_default="as it was trained, merged if not in 4 bits",
    ),
]
RetrainAfterOption = Annotated[
    int,
    typer.Option(
        min=0,
        envvar="TAGALONG_RETRAIN_AFTER",
        help="Retrain the encoder after this many new or changed annotations of a project; 0: only "
        "on Label Studio's Start Training button.",
    ),
]
PromotionPolicyOption = Annotated[
    PromotionPolicy,
    typer.Option(
        envvar="TAGALONG_RETRAIN_PROMOTE",
        help="When to make a retrained version the current one; auto: unless it is significantly "
        "worse than the version that serves the project.",
    ),
]
MaxMemoryOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="MIB",
        envvar="TAGALONG_MAX_MEMORY",
        help="Memory of the server in MiB; beyond it, models without requests are unloaded.",
        show_default="80 % of the container or machine",
    ),
]
RetrainWarmStartOption = Annotated[
    bool,
    typer.Option(
        "--retrain-warm-start",
        envvar="TAGALONG_RETRAIN_WARM_START",
        help="Retrain from the current version instead of from its base model.",
    ),
]
RetrainPrelabelOption = Annotated[
    int,
    typer.Option(
        min=0,
        envvar="TAGALONG_RETRAIN_PRELABEL",
        help="Number of unannotated tasks to predict after a promotion.",
    ),
]
OpenVINOOption = Annotated[
    bool,
    typer.Option(
        envvar=OPENVINO_SWITCH,
        help="Run encoders on OpenVINO, 2 to 3 times as fast on a CPU as PyTorch, once the model "
        "is compiled.",
    ),
]
