"""Private vocabulary of the code base, and the standard terms that replace it.

An entry is one of four kinds. Identifiers are those that the source binds: classes, functions,
parameters, variables, attributes, files and folders. Leading underscores do not count.

- `word` or `two_words`: part of an identifier, split at underscores and capitals; plural too.
- `=Name`: a whole identifier, in this spelling.
- `Class.member`: a field, method or property of a class.
- `folder/file.py`, `folder/`: a file or folder below the package.

A word that is also a standard term (slot, journal, report) is listed in one of the narrow forms.
"""

import re

REPLACEMENTS = {
    # One word for several things
    "calibrate_cli": "benchmark_cli",
    "=Outcome": "RequestStats, JobResult, MatchCounts, TrainResult",
    "standing": "progress, match_kind, message",
    "tier_slot": "ModelHolder",
    "=Journal": "EventStore",
    "=BatchState": "BatchJournal",
    "journal_error": "StateFileError",
    "=Reading": "WindowConfig, DocumentView",
    "sides": "split",
    "piece": "subword, chunk, segment",
    "neighbours": "other_projects, overlapping_spans, context",
    "=PATIENCE": "*_TIMEOUT_SECONDS, MAX_CONSECUTIVE_FAILURES",
    "=SHOWN": "MAX_LISTED",
    "=FORMAT": "SCHEMA_VERSION",
    "=TRIES": "MAX_ATTEMPTS",
    "Entry.tier": "version",
    "dollars": "cost_per_hour",
    "=tab": "view",
    "=budget_ms": "latency_budget_ms",
    # ner
    "catalogue": "model_registry",
    "durable": "atomic_io",
    "ner/payload.py": "manifest",
    "printable": "text_sanitizing",
    "told": "errors raised: translating_*; otherwise a noun",
    "=offer": "describe_available",
    "=Lost": "DroppedAnnotation",
    # backend, models
    "bases": "base_models",
    "=Base": "BaseModel",
    "known_folder": "folder_fingerprint",
    "served_by": "assemble_encoder",
    "coupling": "label_consistency",
    "backend/engine/": "openvino",
    "crowd": "ConcurrencyGauge",
    "=CALM": "COOLDOWN",
    "lanes": "streams",
    "=multiple": "pad_to_multiple_of",
    "portion": "request_chunk, max_batch",
    "=Kept": "CachedEngine",
    "kept_base": "BaseModelCache",
    "raise_rest": "upcast_unquantized",
    "obstacle": "why_no_4bit",
    "layout_planner": "PromptBuilder",
    "=Held": "KVCache",
    "close_up": "compact",
    "pace": "ThroughputEstimate",
    "=Cost": "DecodingStats",
    "verbaliser": "verbalizer",
    # backend, server
    "turns": "scheduler",
    "=Turn": "WorkItem",
    "linger": "max_queue_delay",
    "owed": "backlog_seconds",
    "witness": "observer",
    "engine_room": "EngineBuilder",
    "scraps": "tmp",
    "=Answered": "SeenRegions",
    "came_before": "seen_regions",
    "backend/server/access.py": "auth",
    "untaught": "RETRAIN_DISABLED",
    "=Training": "RetrainSettings",
    "stir": "wake",
    "forgiven": "load_failure_cleared",
    # backend, batch
    "politeness": "RateLimitedRetry",
    "patiently": "retry",
    "=once": "call",
    "worth": "expected_errors",
    "aside": "failed",
    "=HELD": "DEFERRED",
    "trouble": "failure",
    "Entry.place": "position",
    "Target.written": "serialize",
    "settle": "deduplicate, adjudicate",
    # backend, retraining
    "=Runs": "JobStore",
    "=Run": "Job",
    "upto": "last_event_id",
    "unwanted": "cancel_requested",
    "=holds": "set_pid",
    "=tell": "set_message",
    "backend/retraining/due.py": "trigger",
    "=Watch": "Debouncer",
    "=QUIET": "DEBOUNCE",
    "=KEPT": "REJECTED",
    "=ELSEWHERE": "EX_TEMPFAIL",
    # backend, doctor and demo
    "entrance": "reachability",
    "=calling": "http",
    "=Case": "Context, SystemOutput",
    "backend/demo/stage.py": "demo_state",
    "staged": "running_demo",
    "leash": "supervised_process",
    "leashed": "supervised_process",
    # training
    "dev_side": "validation",
    "lesson": "train_window, training_data",
    "training/start.py": "warm_start",
    "begin_at": "warm_start",
    "=Trained": "TrainResult",
    "judged": "counts",
    "mistakes": "error_types",
    "=Effort": "EditEffort",
    "=cut": "segments",
    "=Answers": "SystemOutput",
    "peek": "sniff",
    "ledger": "ImportLog",
    "hearing": "AnnotatorPolicy",
    "heard": "considered",
    "fit_regions": "validate_regions",
    "unlabelled": "unlabeled",
    "crossing": "cross_validation",
    "opinion": "tag_distribution",
    "precedent": "label_consistency",
    "narrowness": "margin",
    "doubt": "uncertainty",
    "dispute": "disagreement_score",
    "sift": "deduplicate",
    "open_questions": "long_entity_uncertainty",
    # cli
    "trade": "TierTrainer",
    "=Order": "EncoderArgs",
    "=Assignment": "TrainJob",
    "=How": "RetrainOptions",
    "=Made": "TrainResult",
    "=Place": "SourceAndSink",
    "=Readers": "Models",
    "begun": "open_batch_state",
    "=held": "locked",
    "unfinished": "state_path_for",
    "conclude": "finish",
    "=learn": "run_training",
    "itself": "subprocesses",
    "cli/quiet.py": "logging_setup",
    "hush": "logging_setup",
    "=grid": "tables",
    "announce": "messages",
    "silver_least": "silver_min_score",
    "=like": "recipe_from",
    "=warm": "warm_start",
    "next_cli": "select_cli",
}
# Two options for one idea, or two ideas under almost one name
CONFUSED_OPTIONS = (
    ("--price", "--dollars-per-hour"),
    ("--view", "--tab"),
    ("--budget", "--budget-ms"),
)


def parts_of(name: str) -> list[str]:
    """`EncoderTagger` and `encoder_tagger` are encoder, tagger."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def contains(name: str, word: str) -> bool:
    """Whether the parts of a word, the last in singular or plural, follow each other in a name."""
    return re.search(rf"(?:^|_){re.escape(word)}s?(?:_|$)", "_".join(parts_of(name))) is not None
