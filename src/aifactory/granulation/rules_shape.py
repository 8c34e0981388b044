"""Rules of shape: level sizes, closed references, cycles, titles, summaries, languages. Pure."""

from collections.abc import Iterator

from aifactory.granulation.index import ROOT, PlacedObject, TreeIndex
from aifactory.granulation.specs import Presence, Use
from aifactory.granulation.tree import MAX_NODES
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import differs_from_language, normalized, overlap, words

TITLE_LENGTH = (3, 120)
SUMMARY_LENGTH = 400
TAGS = 6
SIMILAR_TITLES = 0.8
LONGEST_CHAIN = 12
MIN_WORDS_OF_A_NODE = 40


def check_levels(index: TreeIndex) -> Iterator[Violation]:
    """Every parent within the asked depth has enough children and not more than asked for."""
    tree = index.tree
    if tree.structure_type != index.spec.type:
        message = f"The tree is a {tree.structure_type!r}, the type is {index.spec.type!r}"
        yield index.violation("schema.type_name", Severity.GATE, message, ROOT, "/structureType")
    if len(index.entries) > MAX_NODES:
        message = f"The tree has more than {MAX_NODES:,} nodes"
        yield index.violation("schema.size", Severity.GATE, message, ROOT, "/nodes")
    for owner, children in index.children.items():
        depth = 0 if owner == ROOT else index.entries[owner].depth + 1
        pointer = "/nodes" if owner == ROOT else f"{index.entries[owner].pointer}/children"
        if depth >= index.asked_depth:
            if children and depth < len(index.spec.levels):
                message = f"{index.asked_depth} levels were asked for; here is one more"
                yield index.violation("bounds.depth", Severity.ERROR, message, owner, pointer)
            continue
        kind = index.spec.levels[depth].kind
        least, most = index.minimum(depth), index.maximum(depth)
        if len(children) < least:
            message = f"{len(children)} of kind {kind} here; at least {least} are needed"
            yield index.violation("levels.minimum", Severity.GATE, message, owner, pointer)
        elif len(children) > most:
            message = f"{len(children)} of kind {kind} here; at most {most} are wanted"
            yield index.violation("bounds.children", Severity.ERROR, message, owner, pointer)


def check_references(index: TreeIndex) -> Iterator[Violation]:
    """Every id that is pointed at exists; node ids are unique in the whole tree."""
    for reference in index.references:
        if reference.target not in index.declared.get(reference.space, {}):
            message = f"There is no {reference.space} with the id {reference.target!r}"
            yield index.violation("ids.closed", Severity.GATE, message, reference.owner, reference.pointer)
    seen: dict[str, tuple[str, str]] = {}
    for owner, entry in enumerate(index.entries):
        kind, path = seen.setdefault(entry.node.id, (entry.node.kind, entry.path))
        # Two nodes of one kind are already reported where the ids are declared.
        if kind != entry.node.kind:
            message = f"The id {entry.node.id!r} is already used by the {kind} {path}"
            yield index.violation("ids.unique", Severity.GATE, message, owner, f"{entry.pointer}/id")


def unused_objects(index: TreeIndex) -> list[PlacedObject]:
    """What the tree declares, such as a role or a character, and nothing refers to."""
    used = {(reference.space, reference.target) for reference in index.references}
    return [one for one in index.objects if (one.space, one.name) not in used]


def check_unused(index: TreeIndex) -> Iterator[Violation]:
    """Everything that is declared has a part to play."""
    for one in unused_objects(index):
        message = f"Nothing refers to the {one.space} {one.name!r}"
        yield index.violation("ids.unused", Severity.WARNING, message, one.owner, one.pointer)


def check_graph(index: TreeIndex) -> Iterator[Violation]:
    """What nodes require has no cycle and no chain longer than LONGEST_CHAIN."""
    owners = {entry.node.id: owner for owner, entry in enumerate(index.entries)}
    edges: dict[int, list[int]] = {}
    for reference in index.uses(Use.ORDER):
        if reference.target in owners:
            edges.setdefault(reference.owner, []).append(owners[reference.target])
    lengths: dict[int, int] = {}
    for start in sorted(edges):
        cycle = longest_chain(start, edges, lengths)
        if cycle:
            names = " → ".join(index.entries[owner].path for owner in cycle)
            pointer = f"{index.entries[cycle[0]].pointer}/fields/requires"
            yield index.violation("graph.cycle", Severity.GATE, f"Cycle: {names}", cycle[0], pointer)
            return
    for owner, length in sorted(lengths.items()):
        if length > LONGEST_CHAIN:
            message = f"A chain of {length} requirements ends here; {LONGEST_CHAIN} is the limit"
            yield index.violation(
                "graph.chain", Severity.WARNING, message, owner, index.entries[owner].pointer
            )
            return


def longest_chain(start: int, edges: dict[int, list[int]], lengths: dict[int, int]) -> list[int]:
    """Fill ``lengths`` with the longest chain from each node; return a cycle, its start again at its end.

    Depth first without recursion, so that a long chain cannot exhaust the stack.
    """
    trail: list[int] = []
    on_trail: set[int] = set()
    stack = [(start, False)]
    while stack:
        owner, done = stack.pop()
        if done:
            lengths[owner] = 1 + max((lengths[target] for target in edges.get(owner, [])), default=0)
            trail.pop()
            on_trail.discard(owner)
            continue
        if owner in lengths:
            continue
        trail.append(owner)
        on_trail.add(owner)
        stack.append((owner, True))
        for target in edges.get(owner, []):
            if target in on_trail:
                return [*trail[trail.index(target) :], target]
            if target not in lengths:
                stack.append((target, False))
    return []


def check_texts(index: TreeIndex) -> Iterator[Violation]:
    """Titles, summaries and tags within their lengths; a summary where the level wants one."""
    low, high = TITLE_LENGTH
    if not low <= len(index.tree.title.strip()) <= high:
        message = f"The title has {len(index.tree.title.strip())} characters; {low} to {high} are allowed"
        yield index.violation("text.title_length", Severity.ERROR, message, ROOT, "/title")
    if not index.tree.summary.strip():
        yield index.violation(
            "text.summary_missing", Severity.ERROR, "The summary is empty", ROOT, "/summary"
        )
    for owner, entry in enumerate(index.entries):
        title, summary = len(entry.node.title.strip()), len(entry.node.summary.strip())
        if not low <= title <= high:
            message = f"The title has {title} characters; {low} to {high} are allowed"
            yield index.violation(
                "text.title_length", Severity.ERROR, message, owner, f"{entry.pointer}/title"
            )
        if summary > SUMMARY_LENGTH:
            message = f"The summary has {summary} characters; at most {SUMMARY_LENGTH} are allowed"
            pointer = f"{entry.pointer}/summary"
            yield index.violation("text.summary_length", Severity.ERROR, message, owner, pointer)
        elif not summary and entry.level is not None and entry.level.summary is not Presence.OPTIONAL:
            pointer = f"{entry.pointer}/summary"
            severity = Severity.ERROR if entry.level.summary is Presence.REQUIRED else Severity.WARNING
            yield index.violation("text.summary_missing", severity, "The summary is empty", owner, pointer)
        if len(entry.node.tags) > TAGS:
            message = f"{len(entry.node.tags)} tags; at most {TAGS} are allowed"
            yield index.violation("text.tags", Severity.WARNING, message, owner, f"{entry.pointer}/tags")


def check_siblings(index: TreeIndex) -> Iterator[Violation]:
    """No two siblings have the same title, or nearly the same one."""
    for children in index.children.values():
        seen: dict[str, str] = {}
        earlier: list[tuple[str, frozenset[str]]] = []
        for owner in children:
            entry = index.entries[owner]
            pointer = f"{entry.pointer}/title"
            title = normalized(entry.node.title) or entry.node.title.strip()
            if title in seen:
                message = f"The sibling {seen[title]} has the same title"
                yield index.violation("text.sibling_title", Severity.ERROR, message, owner, pointer)
                continue
            seen[title] = entry.path
            stems = frozenset(entry.title_stems)
            for path, other in earlier:
                # Titles without words of their own, such as "Question 3", differ by their number.
                if min(len(stems), len(other)) > 1 and overlap(stems, other) >= SIMILAR_TITLES:
                    message = f"The title is nearly that of its sibling {path}"
                    yield index.violation("text.similar_title", Severity.WARNING, message, owner, pointer)
                    break
            earlier.append((entry.path, stems))


def check_language(index: TreeIndex) -> Iterator[Violation]:
    """The tree, and each longer node, is written in the language that was asked for."""
    everything: list[str] = words(index.tree.summary)
    for owner, entry in enumerate(index.entries):
        own = entry.title_words + [word for sentence in entry.sentences for word in sentence.words]
        everything += own
        if len(own) < MIN_WORDS_OF_A_NODE:
            continue
        other = differs_from_language(own, index.language)
        if other:
            message = f"This reads as {other!r}; {index.tree.language!r} was asked for"
            yield index.violation("language.node", Severity.ERROR, message, owner, entry.pointer)
    other = differs_from_language(everything, index.language)
    if other:
        message = f"The text reads as {other!r}; {index.tree.language!r} was asked for"
        yield index.violation("language.tree", Severity.GATE, message, ROOT, "/language")
