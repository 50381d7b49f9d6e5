"""The items of an external evaluation, from its publisher's records."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stargate_assets.config.data_set import DataError, Source
from stargate_assets.config.digest import digest_fields, digest_text
from stargate_assets.config.evaluation_set import EvaluationSet
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.evaluations.kind import Item, ItemError
from stargate_assets.method.splits import draw
from stargate_assets.pipeline.sources.files import read_files
from stargate_assets.pipeline.sources.hub import read_hub
from stargate_assets.pipeline.sources.readers import read_records
from stargate_assets.pipeline.sources.records import Records


@dataclass(frozen=True, slots=True)
class Items:
    """Ordered by id. `left_out` counts the records that are no item of their own, by reason."""

    items: list[Item]
    left_out: Mapping[str, int]


def evaluation_content(stated: EvaluationSet) -> str:
    """A digest of what is stated and of the file: another file, other outcomes. Where it lies does
    not matter.
    """
    there = stated.file is not None and stated.file.is_file()
    data = stated.file.read_bytes() if stated.file is not None and there else b""
    return digest_text(digest_fields(stated, {"file"}), hashlib.sha256(data).hexdigest())


def read_items(name: str, stated: EvaluationSet) -> Items:
    """All items, or a DataError that names the record: nothing is half-loaded."""
    found: dict[str, Item] = {}
    left_out: Counter[str] = Counter()
    read = list[str]()
    for part in _parts(stated):
        read.append(part.name)
        for record in part.records:
            if record.left_out:
                left_out[record.left_out] += 1
                continue
            where = f"{part.name}, {record.place}"
            if record.fault is not None:
                raise DataError(f"{where}: {record.fault.message}.")
            try:
                item = EVALUATIONS[stated.kind].read(record.values)
            except ItemError as error:
                raise DataError(
                    f"{where}: {error}, so this is no record of {stated.kind}; correct it, or the "
                    f"kind of the evaluation {name}."
                ) from error
            left_out["repeated"] += item.item_id in found
            found.setdefault(item.item_id, item)
    if not found:
        raise DataError(f"{', '.join(read)} has no records; the evaluation {name} needs one.")
    wanted = sorted(draw(found, stated.limit, name)) if stated.limit else sorted(found)
    left_out["above the limit"] = len(found) - len(wanted)
    return Items([found[key] for key in wanted], {k: n for k, n in left_out.items() if n})


def _parts(stated: EvaluationSet) -> Iterator[Records]:
    if stated.hub is not None:
        yield read_hub(stated.hub)
    elif stated.file is not None:
        source = Source(file=(stated.file,))
        yield from (read_records(file, source) for file in read_files(source))
