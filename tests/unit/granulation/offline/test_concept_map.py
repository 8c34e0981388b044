import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, make
from tests.unit.granulation.offline.sound import all_cited, score_of

from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.tree import walk

SHAPE = (6, 4, 2)
BANKS = """# Banks

A deposit is money that a customer leaves with a bank. The deposit belongs to the customer, who may ask for
it.
A loan is money that a bank gives to a customer for a time. The loan is paid back with interest.
Unlike a deposit, a loan earns the bank interest from its first day.

## Risk

A default is the failure to pay back a loan. Each default takes money that the bank had counted on.
Collateral is property that a bank may sell after a default. A house is the usual collateral for a loan.
Property such as a house, for example, can be collateral for many years.

## Reserves

A reserve is money that a bank keeps and does not lend. The reserve pays customers who ask for a deposit.
A run is a rush of customers who all ask for their deposit. A run empties the reserve within days.
The central bank lends to a bank during a run. A central bank is the bank of all other banks.
"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_makes_a_sound_map_in_which_nothing_stands_twice(name: str) -> None:
    text, tree = make(name, "knowledge_map", *SHAPE)
    assert score_of(tree, text, SHAPE) >= 60
    assert all_cited(tree)
    titles = [node.title.casefold() for _, node in walk(tree)]
    assert len(set(titles)) == len(titles)
    assert all(edge["from"] != edge["to"] for edge in tree.fields["edges"])


def test_an_edge_is_of_the_kind_that_a_sentence_shows_and_the_sentence_is_cited() -> None:
    digest = read_source(BANKS, format="markdown", name="banks.md")
    tree = generate(digest, BANKS, brief("knowledge_map", 3, 4))
    names = {node.id: node.title for _, node in walk(tree)}
    edges = {(names[edge["from"]], names[edge["to"]]): edge["edgeKind"] for edge in tree.fields["edges"]}
    assert edges.get(("Deposit", "Loan"), edges.get(("Loan", "Deposit"))) == "contrasts", edges
    told = [node.fields["definition"] for _, node in walk(tree)]
    assert len(set(told)) == len(told)
    cited = [span.quote for _, node in walk(tree) for span in node.sources]
    assert any(quote.startswith("Unlike a deposit") for quote in cited)
