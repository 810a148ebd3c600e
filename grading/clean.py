"""Make what a student wrote fit to be shown: no markup, no script, no control characters, no formulas, no floods."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

MOST_TEXT = 20_000  # characters of one output
MOST_IMAGE = 2 << 20  # bytes of one image, encoded
MOST_OUTPUTS = 50  # of one cell
MOST_SOURCE = 200_000  # characters of one cell
IMAGES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_SCHEME = re.compile(r"(javascript|vbscript|data)(\s*):", re.IGNORECASE)
_ATTACHED = re.compile(r"(attachment):([^)\s\"'>\]]*)", re.IGNORECASE)
# A link or a definition of one whose target does not plainly begin with a harmless scheme: entities, backslashes, tabs
# and whatever else may hide another scheme need not be known.
_LINK = re.compile(r"\]([(:])(?!\s*(?:https?://|mailto:|attachment:|#))", re.IGNORECASE)
# TeX by which MathJax makes links, styles and macros
_MACRO = re.compile(
    r"\\(href|url|require|class|style|cssId|data|[egx]?def|let|(?:re|provide)?newcommand|newenvironment|csname|unicode|mmlToken)",
)
_FORMULA = tuple("=+-@\t\r\n|%")


def text(value: Any, most: int = MOST_TEXT) -> str:
    """A string without control characters, cut to `most`."""
    joined = "".join(map(str, value)) if isinstance(value, list) else str(value)
    cleaned = _CONTROL.sub("", joined[: most + 1].replace("\r\n", "\n"))
    return cleaned if len(cleaned) <= most else cleaned[:most] + "\n... cut here ..."


def tree(value: Any) -> Any:
    """Every string in a tree of dicts and lists cleaned."""
    if isinstance(value, dict):
        return {text(key, 100): tree(part) for key, part in value.items()}
    if isinstance(value, list):
        return [tree(part) for part in value]
    return text(value) if isinstance(value, str) else value


def markdown(source: str) -> str:
    """Markdown that cannot hold HTML or a link that runs."""
    plain = _MARKUP.sub(lambda found: {"<": "&lt;", "&": "&amp;"}[found[0]], text(source, MOST_SOURCE))
    plain = _MACRO.sub(r"\\ \1", _SCHEME.sub(r"\1\2 :", plain))
    return _LINK.sub(r"] \1", plain)


def cell(value: Any) -> Any:
    """A value for a table that a spreadsheet opens: text that looks like a formula is quoted."""
    if not isinstance(value, str):
        return value
    plain = text(value, 1000).replace("\n", " ")
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def outputs(found: Any) -> list[NotebookNode]:
    """A code cell's outputs with text and images only."""
    found = found if isinstance(found, list) else []
    kept = [made for output in found[:MOST_OUTPUTS] if isinstance(output, dict) and (made := _output(output))]
    if len(found) > MOST_OUTPUTS:
        kept.append(new_output("stream", name="stdout", text=f"... {len(found) - MOST_OUTPUTS} more outputs ...\n"))
    return kept


def _without_dangling(source: str, kept: dict[str, dict[str, str]]) -> str:
    """Markdown without references to attachments that are not there, over which nbconvert would stumble."""
    return _ATTACHED.sub(lambda found: found[0] if found[2] in kept else f"{found[1]} :{found[2]}", source)


def _output(output: dict) -> NotebookNode | None:
    kind = output.get("output_type")
    if kind == "stream":
        return new_output("stream", name="stdout", text=text(output.get("text", "")))
    if kind in ("execute_result", "display_data"):
        return new_output("display_data", data=_data(output.get("data")))
    if kind == "error":
        name, said = text(output.get("ename", ""), 100), text(output.get("evalue", ""), 1000)
        return new_output("error", ename=name, evalue=said, traceback=[f"{name}: {said}"])
    return None


def _data(data: Any) -> dict[str, str]:
    data = data if isinstance(data, dict) else {}
    for kind in IMAGES:
        if image(kind, data.get(kind)):
            return {kind: re.sub(r"\s", "", "".join(data[kind]))}
    if "text/html" in data and not data.get("text/plain"):
        return {"text/plain": "[a page of HTML, not shown]"}
    return {"text/plain": text(data.get("text/plain", ""))}


def image(kind: str, encoded: Any) -> bool:
    """Whether this is base64 of a picture of that kind, of bearable size."""
    joined = "".join(encoded) if isinstance(encoded, list) and all(isinstance(e, str) for e in encoded) else encoded
    if not isinstance(joined, str) or len(joined) > MOST_IMAGE or kind not in IMAGES:
        return False
    try:
        return base64.b64decode(re.sub(r"\s", "", joined), validate=True).startswith(IMAGES[kind])
    except (binascii.Error, ValueError):
        return False


def attachments(found: Any) -> dict[str, dict[str, str]]:
    """Attached pictures under harmless names."""
    found = found if isinstance(found, dict) else {}
    kept: dict[str, dict[str, str]] = {}
    for name, bundle in list(found.items())[:MOST_OUTPUTS]:
        pictures = bundle.items() if isinstance(bundle, dict) else ()
        good = {kind: "".join(encoded) for kind, encoded in pictures if image(kind, encoded)}
        if good and re.fullmatch(r"[\w. -]{1,80}", str(name)):
            kept[str(name)] = good
    return kept


def notebook(nb: NotebookNode, trusted: set[str]) -> NotebookNode:
    """Clean every cell in place; sources in `trusted`, the release's own, stay as they are."""
    for made in nb.cells:
        if made.cell_type == "code":
            made.source, made.outputs = text(made.source, MOST_SOURCE), outputs(made.outputs)
            continue
        made.cell_type = "markdown"  # a raw cell would reach a page as it is
        if "attachments" in made:
            made.attachments = attachments(made.attachments)
        if made.source not in trusted:
            made.source = _without_dangling(markdown(made.source), made.get("attachments", {}))
    return nb
