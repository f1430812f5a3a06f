"""``tagalong models export`` and ``import``: move a version to another machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tagalong.backend.storage.model_archive import export_version, import_version
from tagalong.cli.terminal.console import echo_json, print_line
from tagalong.cli.terminal.options import JsonOption, ModelsOption, open_store
from tagalong.ner.manifest import Manifest

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.base_models.required_base import RequiredBase

OUTCOMES = {
    "imported": "was added to",
    "replaced": "was damaged, and replaced, in",
    "present": "is there already, unchanged, in",
}

app = typer.Typer()


@app.command("export")
def export_cli(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model (its current version), MODEL/VERSION, version, 'bundled', or a path.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Tar file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Write a version into a tar file, for `tagalong models import` on another machine.

    The base model of an adapter is not in it.

    Example: tagalong models export encoder --out encoder.tar
    """
    model, manifest = export_version(open_store(models), reference, out, overwrite=force)
    base = _find_required_base(manifest)
    if as_json:
        written = {"file": str(out), "bytes": out.stat().st_size}
        echo_json({**_to_json(model, manifest, base), **written})
        return
    size = out.stat().st_size / 1e6
    print_line(f"{out} has {model}/{manifest.version} ({size:,.1f} MB).")
    if base:
        print_line(base.describe())


@app.command("import")
def import_cli(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Tar file of `tagalong models export`.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model that receives the version.", show_default="the one it was exported from"
        ),
    ] = None,
    promote: Annotated[
        Literal["always", "never"],
        typer.Option(help="When to make the version the current one of the model."),
    ] = "never",
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """Check a tar file of `tagalong models export`, and add its version to a model.

    Example: tagalong models import encoder.tar --promote always
    """
    store = open_store(models)
    imported = import_version(store, path, model=model)
    model, manifest = imported.model, imported.manifest
    name = f"{model}/{manifest.version}"
    if promote == "always":
        store.promote(model, manifest.version)
    base = _find_required_base(manifest)
    is_current = store.current_version(model) == manifest.version
    if as_json:
        state = {"outcome": imported.outcome, "current": is_current}
        echo_json({**_to_json(model, manifest, base), **state})
        return
    print_line(f"{manifest.version} {OUTCOMES[imported.outcome]} the model {model}.")
    if base:
        print_line(base.describe())
    if is_current:
        print_line(f"It is the current version of {model}.")
    else:
        print_line(f"It is not current: `tagalong models promote {name}` makes it so.")


def _find_required_base(manifest: Manifest) -> "RequiredBase | None":
    from tagalong.backend.models.base_models.required_base import find_required_base

    return find_required_base(manifest)


def _to_json(model: str, manifest: Manifest, base: "RequiredBase | None") -> dict[str, Any]:
    return {
        "model": model,
        "tier": manifest.tier,
        "version": manifest.version,
        "base": base and {"reference": base.reference, "revision": base.revision},
        "base_is_here": base.is_here if base else True,
    }
