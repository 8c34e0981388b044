"""A whole stage on paper: the steps in order, with the simulated writer in the place of every call."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from aifactory.granulation import steps
from aifactory.granulation.generation.asks import Ask
from aifactory.granulation.generation.prompts import SYSTEM
from aifactory.granulation.local_steps import _answers
from aifactory.granulation.model import steps as model_steps
from aifactory.granulation.model.calls import Portion, ask_of
from aifactory.granulation.model.choice import Generator
from aifactory.granulation.model.lines import ModelPath
from aifactory.granulation.model.steps import Source, Wish
from aifactory.granulation.parameters import SourceReference, read_parameters
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.structured import answer_format, read_answer
from aifactory.granulation.tree import Origin, Tree
from aifactory.resources.interface import Hop, Route, SchemaProfile
from devprovider.writing.answering import write
from devprovider.writing.prompt import Message

ROUTE = Route(hops=(Hop(provider="simulated", model="sim-small", pool="simulated"),))
GENERATOR = Generator(routes=(ROUTE,), max_input_tokens=8_000, max_output_tokens=8_192, fallback=True)

Spoil = Callable[[str, Portion, Any], Any]


class Paper:
    """Runs a stage's steps in this process; ``spoil`` may change or drop (None) an answer.

    Every call is made, and its answer read, under each of the profiles; the first one's goes into the tree.
    """

    def __init__(
        self,
        structure_type: str | StructureSpec,
        parameters: Mapping[str, Any],
        source: bytes | None = None,
        *,
        quality: Mapping[str, float] | None = None,
        profiles: tuple[SchemaProfile, ...] = (SchemaProfile.OPENAI,),
        spoil: Spoil | None = None,
    ) -> None:
        spec = builtin_specs()[structure_type] if isinstance(structure_type, str) else structure_type
        read = read_parameters(dict(parameters), spec)
        if source is not None:
            read = msgspec.structs.replace(read, source=SourceReference(data_ref="data_x", name="source.md"))
        self.wish = Wish(spec=spec, parameters=read)
        self.path = ModelPath(wish=self.wish, generator=GENERATOR, has_source=source is not None)
        self.content = source
        self.quality = quality or {}
        self.profiles = profiles
        self.spoil = spoil
        self.prompts: list[tuple[str, str]] = []
        self.tokens: dict[str, int] = {}

    def ask(self, kind: str, data: dict[str, bytes], portion: Portion = Portion(part="")) -> bytes | None:  # noqa: B008
        """Make a call: the answer, read as the product reads it."""
        ask = ask_of(kind, data, self.wish, self.wish.recipe, portion, 12_000)
        self.prompts.append((kind, ask.user))
        value, *_ = [self._answer(kind, ask, profile) for profile in self.profiles]
        if self.spoil is not None:
            value = self.spoil(kind, portion, value)
        return None if value is None else msgspec.json.encode(value)

    def _answer(self, kind: str, ask: Ask, profile: SchemaProfile) -> Any:
        form = answer_format(ask.type, name=ask.name, profile=profile)
        messages = [Message(role="system", text=SYSTEM), Message(role="user", text=ask.user)]
        written = write(messages, dict(form.schema), quality=self.quality, as_json=True)
        self.tokens[kind] = self.tokens.get(kind, 0) + len(written.text) // 4
        reading = read_answer(written.text, form, finish_is_length=False)
        assert reading.fault is None, (kind, profile, reading, written.text[:300])
        return msgspec.json.decode(msgspec.json.encode(reading.value))

    def run(self) -> tuple[Tree, Assessment, dict[str, Any]]:
        """Go the whole way; returns the tree, its assessment and what the steps said."""
        source, material = None, {}
        if self.content is not None:
            read = model_steps.read(self.content, "markdown", "source.md", self.wish)
            assert isinstance(read, steps.Made), read
            source = Source(content=self.content, digest=read.artifacts["digest"])
            material = {"material": read.artifacts["material"]}
        outline = self.ask("outline", material)
        assert outline is not None
        planned = model_steps.plan(source, outline, self.wish)
        data: dict[str, bytes] = {}
        for part, children in planned.output["parts"].items():
            given = {"material": planned.artifacts[f"part.{part}"]}
            portion = Portion(part=part, children=tuple(children), count=self.path.recipe.children)
            for kind in ("expand", "items") if self.path.recipe.item_list else ("expand",):
                answer = self.ask(kind, given, portion)
                if answer is not None:
                    data[f"{kind}.{part}.1"] = answer
        drafted = model_steps.put_together(
            source, planned.artifacts["plan"], _answers(data), self.wish, Origin.SIMULATED, 2
        )
        told = {"plan": planned.output, "assemble": drafted.output}
        asked = [drafted.artifacts[name] for name in drafted.output["patches"]]
        patches = [self.ask("patch", {"material": one}) for one in asked]
        done = model_steps.finish(
            source,
            drafted.artifacts["draft"],
            drafted.artifacts["repairs"],
            [one for one in patches if one is not None],
            self.wish,
        )
        told["finish"] = done.output
        told["repairs"] = msgspec.json.decode(done.artifacts["repairs"])
        return (
            msgspec.json.decode(done.artifacts["tree"], type=Tree),
            msgspec.json.decode(done.artifacts["assessment"], type=Assessment),
            told,
        )
