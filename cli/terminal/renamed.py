"""Names of commands, options and environment variables that earlier releases used.

A stale name is refused with the current one: a script must not silently lose a setting.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tagalong.ner.errors import InputError

RENAMED_COMMANDS = {
    "calibrate": "benchmark",
    "curate next": "curate select",
    "models engine": "models compile",
}
# A name with two meanings in earlier releases has an entry for each command.
RENAMED_OPTIONS = {
    "--budget": "--llm-share",
    "--budget-ms": "--latency-budget-ms",
    "--cpu-engine": "--openvino",
    "--dollars-per-hour": "--cost-per-hour",
    "--key": "--label-studio-key",
    "--labelled": "--labeled",
    "--lesson-window": "--train-window",
    "--like": "--recipe-from",
    "--no-cpu-engine": "--no-openvino",
    "--no-promote": "--promote never",
    "--noise": "--tag-noise",
    "--price": "--cost-per-hour",
    "--retrain-warm": "--retrain-warm-start",
    "--silver-least": "--silver-min-score",
    "--tab": "--create-view",
    "--unlabelled": "--unlabeled",
    "--url": "--label-studio-url",
    "--warm": "--warm-start",
    "retrain --held-out": "--holdout-share",
    "train encoder --held-out": "--exclude",
}
RENAMED_VARIABLES = {
    "TAGALONG_CPU_ENGINE": "TAGALONG_OPENVINO",
    "TAGALONG_RETRAIN_WARM": "TAGALONG_RETRAIN_WARM_START",
}


def refuse_renamed(command: Any, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise `InputError` for an old name that the chosen command does not know.

    `command` is the root of the command tree; the others are those of the process.
    """
    words: list[str] = []
    for word in arguments:
        old = " ".join([*words, word])
        if old in RENAMED_COMMANDS:
            raise _renamed_error(f"command {old!r}", f"'{RENAMED_COMMANDS[old]}'")
        if word not in getattr(command, "commands", {}):
            break
        command, words = command.commands[word], [*words, word]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for argument in arguments[len(words) :]:
        name = argument.partition("=")[0]
        new = RENAMED_OPTIONS.get(" ".join([*words, name])) or RENAMED_OPTIONS.get(name)
        if new is not None and name not in known:
            raise _renamed_error(f"option {name}", new)
    variables = {option.envvar for option in command.params}
    if "TAGALONG_MODELS" in variables:  # these commands read the switch without an option for it
        variables.add("TAGALONG_OPENVINO")
    for old, new in RENAMED_VARIABLES.items():
        if new in variables and old in environment:
            raise _renamed_error(f"environment variable {old}", new)


def _renamed_error(old: str, new: str) -> InputError:
    return InputError(f"the {old} is now {new}: use that name", code="renamed-setting")
