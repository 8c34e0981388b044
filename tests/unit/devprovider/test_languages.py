from tests.unit.devprovider.prompts import (
    OUTLINE,
    OUTLINE_SIZES,
    answer,
    items_schema,
    user_text,
)

from aifactory.granulation.words import differs_from_language, words

GERMAN = (
    "Sauberes Wasser aus dem Hahn ist das Ende einer langen Kette von kleinen Schritten.",
    "Ein Fluss oder ein Stausee führt Ton, Laub und Algen mit sich.",
    "Das Wasserwerk entfernt die groben Stoffe zuerst und die feinen danach.",
    "Der Rechen ist ein Gitter aus Metall, das Äste und Fische zurückhält.",
    "Das Flockungsmittel bindet die Teilchen, die von selbst nicht sinken.",
    "Im Absetzbecken steht das Wasser zwei bis vier Stunden fast still.",
    "Der Sandfilter hält zurück, was nach dem Absetzen noch im Wasser schwebt.",
    "Chlor tötet die Keime ab und wirkt auch in den Rohren noch weiter.",
    "Die Betreiber messen die Trübung des Wassers an jeder Stufe.",
    "Ein Hochbehälter gleicht den Verbrauch zwischen Tag und Nacht aus.",
)


def test_another_language_is_answered_in_it() -> None:
    text = user_text("Plane einen Kurs.", OUTLINE_SIZES, source=GERMAN).replace(
        "Language: en", "Language: de"
    )
    made = answer(text, OUTLINE)
    said = [made["summary"], *(node["summary"] for node in made["nodes"])]
    said += [one["text"] for one in made["outcomes"]]
    assert differs_from_language(words(" ".join(said)), "de") is None
    assert differs_from_language(words(" ".join(said)), "en") == "de"


def test_stems_of_another_language_are_the_passages_alone() -> None:
    text = user_text("Schreibe Fragen.", {"items": 3}, source=GERMAN).replace("Language: en", "Language: de")
    for item in answer(text, items_schema("single"))["items"]:
        assert "____" in item["stem"]
        assert "Which" not in item["stem"]
