"""Formats that a tree can leave in, each with a declared report of what it cannot carry. Pure."""

from aifactory.granulation.exports import as_html, as_json, as_markdown
from aifactory.granulation.exports.model import Export, ImportRefused, Loss

EXPORTS: dict[str, Export] = {
    "json": Export(
        media_type="application/json", extension="json", write=as_json.export, losses=as_json.losses
    ),
    "markdown": Export(
        media_type="text/markdown; charset=utf-8",
        extension="md",
        write=as_markdown.export,
        losses=as_markdown.losses,
    ),
    "html": Export(
        media_type="text/html; charset=utf-8",
        extension="html",
        write=as_html.export,
        losses=as_html.losses,
        security=as_html.security,
    ),
}

__all__ = ["EXPORTS", "Export", "ImportRefused", "Loss"]
