"""``tagalong models``: list, show, promote, compile and remove model versions."""

from pathlib import Path
from typing import Annotated

import typer

from tagalong.backend.storage.model_store import ModelStore
from tagalong.cli.terminal.console import console, echo_json, error_console
from tagalong.cli.terminal.options import JsonOption, ModelsOption, open_store
from tagalong.cli.versions import list_versions, render_list, render_manifest, row_to_json
from tagalong.ner.errors import RegistryError, VersionNotFound
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE
from tagalong.ner.tiers import DEFAULT_TIER
from tagalong.training.corpus import read_corpus

app = typer.Typer(
    help="List, show, promote, roll back and remove model versions.", no_args_is_help=True
)

VersionArgument = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="Version, or TIER/VERSION as `models list` shows it."),
]


@app.command("list")
def list_cli(models: ModelsOption = Path("models"), as_json: JsonOption = False) -> None:
    """List the versions with their scores; the current one of each tier is marked.

    Example: tagalong models list
    """
    store = open_store(models)
    listing = list_versions(store)
    if as_json:
        versions = [row_to_json(row) for row in listing.rows]
        echo_json({"models": str(store.root), "versions": versions, "notes": listing.notes})
        return
    console.print(render_list(listing.rows))
    for note in listing.notes:
        error_console.print(f"Note: {note}", style="yellow", markup=False, soft_wrap=True)


@app.command("show")
def show_cli(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="Version, TIER/VERSION, a tier (its current version), 'bundled', or a path.",
            show_default="the current encoder, else the bundled one",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Verify a version and show its manifest.

    Example: tagalong models show encoder
    """
    store = open_store(models)
    folder = store.resolve(reference or DEFAULT_TIER)
    manifest = read_manifest(folder)
    if as_json:
        echo_json({**manifest.to_json(), "path": str(folder)})
    else:
        console.print(render_manifest(manifest, folder))


@app.command("promote")
def promote_cli(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="Version, TIER/VERSION as `models list` shows it, or 'bundled'.",
        ),
    ],
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Verify a version and make it the current one of its tier.

    A running server loads it within seconds. `tagalong doctor` checks the names in Label Studio.

    Example: tagalong models promote minilm-20260131-0f3c2d1e
    """
    store = open_store(models)
    tier, version = locate_stored_version(store, reference)
    store.promote(tier, version)
    name = store.bundled_version_folder(tier).name if version == BUNDLED_REFERENCE else version
    shown = f"{name} (bundled)" if version == BUNDLED_REFERENCE else name
    _print_result(f"{shown} is the current version of {tier} now", tier, name, as_json=as_json)


@app.command("rollback")
def rollback_cli(
    tier: Annotated[str, typer.Argument(help="Tier whose last promotion to undo.")] = DEFAULT_TIER,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Undo the last promotion: the version that was current before is current again.

    Before the first promotion the bundled version was current; the LLM had no current version.

    Example: tagalong models rollback encoder
    """
    store = open_store(models)
    version = store.rollback(tier)
    if version is None:
        sentence = f"Tier {tier} has no current version any more"
    else:
        shown = version if store.current_version(tier) == version else f"{version} (bundled)"
        sentence = f"{shown} is the current version of {tier} again"
    _print_result(sentence, tier, version, as_json=as_json)


@app.command("compile")
def compile_cli(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="Encoder version, as for `models show`.",
            show_default="the current one, else the bundled",
        ),
    ] = None,
    documents: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help=("Documents like yours, for quantization and for the check; may be given again."),
            show_default="48 abstracts of BC5CDR",
        ),
    ] = None,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Compile an encoder version for OpenVINO, and check it against PyTorch.

    Training and serving compile automatically; this command compiles now and prints the result.

    Example: tagalong models compile encoder --documents test.jsonl
    """
    from tagalong.backend.models.openvino.compile import compile_version, describe_openvino_model

    store = open_store(models)
    folder = store.resolve(reference or DEFAULT_TIER)
    own = read_corpus(documents).documents if documents else ()
    kept = compile_version(folder, quantization_documents=own, check_documents=own)
    if as_json:
        echo_json({**kept.record.to_json(), "path": str(kept.folder)})
        return
    console.print(f"{kept.record.version} has an OpenVINO model in {kept.folder}.", soft_wrap=True)
    console.print(describe_openvino_model(kept), markup=False, soft_wrap=True)


@app.command("remove")
def remove_cli(
    reference: VersionArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Delete a version that is not current. This cannot be undone.

    Example: tagalong models remove minilm-20260131-0f3c2d1e
    """
    store = open_store(models)
    tier, version = locate_stored_version(store, reference)
    if version == BUNDLED_REFERENCE:
        raise RegistryError(
            "the bundled version is part of Tagalong and cannot be removed: give another version",
            code="bundled-version-not-removable",
        )
    if not yes:
        typer.confirm(f"Delete {tier}/{version} for good?", abort=True, err=True)
    store.remove(tier, version)
    _print_result(f"{tier}/{version} was removed", tier, version, as_json=as_json)


def locate_stored_version(store: ModelStore, reference: str) -> tuple[str, str]:
    """Find a version that can be promoted or removed.

    Args:
        store: Model store.
        reference: Reference of `ModelStore.resolve`.

    Returns:
        Tier and version; the version is ``bundled`` for the bundled one.

    Raises:
        VersionNotFound: If there is none, or it is outside the store.
    """
    folder = store.resolve(reference).resolve()
    tier, version = folder.parent.name, folder.name
    if folder.parent.parent == store.root.resolve():
        return tier, version
    if store.bundled_root is not None and folder == _bundled_folder(store, tier):
        return tier, BUNDLED_REFERENCE
    raise VersionNotFound(
        f"{reference!r} is {folder}, outside the store {store.root}: give a version of the store",
        code="version-outside-store",
    )


def _bundled_folder(store: ModelStore, tier: str) -> Path | None:
    return (
        None
        if store.bundled_version(tier) is None
        else store.bundled_version_folder(tier).resolve()
    )


def _print_result(sentence: str, tier: str, version: str | None, *, as_json: bool) -> None:
    if as_json:
        echo_json({"tier": tier, "version": version})
    else:
        console.print(f"{sentence}.", markup=False, soft_wrap=True)
