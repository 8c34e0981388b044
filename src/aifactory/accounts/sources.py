"""Sources of requests: texts become stored data, references are looked up among the client's own."""

from typing import Any

from aifactory.accounts.parameters import Source, SourceFormat, format_of, read_source
from aifactory.kernel import ids
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId
from aifactory.resources.interface import DataNotFound, Resources, refuse_erased


async def store_source(
    tx: Tx, resources: Resources, client_id: ClientId, parameters: dict[str, Any]
) -> tuple[dict[str, Any], DataId | None]:
    """Return the parameters with the source's text replaced by a reference, and the reference."""
    source = read_source(parameters)
    if source is None:
        return parameters, None
    if source.text is not None:
        name, written = source.name or "source", source.format or SourceFormat.MARKDOWN
        data_id = await resources.store_data(
            tx,
            client_id=client_id,
            name=name,
            media_type=written.media_type,
            content=source.text.encode(),
        )
        return parameters | {"source": reference_to(data_id, written, name)}, data_id
    reference, data_id = await find_source(tx, resources, client_id, source)
    await resources.keep_data(tx, client_id=client_id, data_id=data_id)
    return parameters | {"source": reference}, data_id


def reference_to(data_id: DataId, written: SourceFormat, name: str) -> dict[str, str]:
    """Return what a request's parameters keep of a source."""
    return {"dataRef": ids.text_id("data", data_id), "format": written.value, "name": name}


async def find_source(
    tx: Tx, resources: Resources, client_id: ClientId, source: Source
) -> tuple[dict[str, str], DataId]:
    """Return what a request keeps of a source that refers to stored data.

    Raises DataNotFound, ContentErased or Invalid.
    """
    data_id = ids.parse_id("data", source.data_ref or "")
    found = (
        None
        if data_id is None
        else await resources.find_data(tx, client_id=client_id, data_id=DataId(data_id))
    )
    if found is None:
        raise DataNotFound("There is no data with this reference; POST /api/data makes one.")
    refuse_erased(found.erased_at, found.erasure)
    written = source.format or format_of(found.media_type)
    return reference_to(found.id, written, source.name or found.name), found.id
