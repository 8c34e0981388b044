"""HTML, reStructuredText and the layouts of plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.reading import Line, open_reading
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.sizes import resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import walk

TIDE = "The tide is the rise and fall of the sea that the Moon's pull causes twice a day on most coasts. "
WATER = "A gauge in the harbour measures the level of the water and sends it to the office every hour. "
FILLER = (TIDE + WATER) * 4

PAGE = f"""<!DOCTYPE html><html><head><title>Tides &amp; Gauges | Harbour Office</title>
<style>p {{ color: red }}</style><script>if (a < b) document.write("<p>Never told.</p>");</script></head>
<body class="page"><header><h1>Harbour Office</h1></header>
<nav><ul><li><a href="/">Home page of the office.</a></li></ul></nav>
<h1 title="a > b">Tides<a class="headerlink" href="#tides">¶</a></h1>
<p>The <b>spring tide</b> is higher than&nbsp;others &mdash; it comes at full moon.<br>A <code>neap</code>
tide isn&#39;t.</p><p>{FILLER}
<h2>Terms</h2><dl><dt>Slack water<dd>is the time when the stream doesn't run. It is short.
<dt><code>read(gauge, size)</code></dt><dd><p>Gives the level that was measured last.</p></dd></dl>
<h2>Reading a gauge</h2><ol><li>Open the box.</li><li><p>Read the dial.</p><p>It shows metres.</p></li>
<li>Close the box.</li></ol><ul><li><a href="x">Next page</a></li>
<li>Gauges need <a href="y">care</a>.</li></ul>
<table><tr><td>Port</td><td>3.1</td></tr></table><pre>level = read(gauge)</pre><!-- <p>Hidden.</p> -->
<p>{FILLER}</p><footer><p>All that is told at the foot.</p></footer></body></html>"""


def _read(text: str, format: SourceFormat, name: str = "x.txt") -> tuple[Digest, list[Line]]:
    digest = read_source(text, format=format, name=name)
    return digest, list(open_reading(digest, text).lines)


def _heads(digest: Digest) -> list[tuple[int, str]]:
    return [(section.level, section.title) for section in digest.sections if section.level]


def test_a_page_is_read_as_its_reader_sees_it() -> None:
    digest, lines = _read(PAGE, "html")
    told = [line.shown for line in lines]
    assert _heads(digest) == [(1, "Tides"), (2, "Terms"), (2, "Reading a gauge")]
    assert digest.title == "Tides"
    assert told[:2] == [
        "The spring tide is higher than others — it comes at full moon.",
        "A neap tide isn't.",
    ]
    assert "Slack water: is the time when the stream doesn't run." in told
    assert "Gives the level that was measured last." in told
    assert "Gauges need care." in told
    silent = ("Never", "Home", "Harbour Office", "Next page", "Port", "read(gauge", "Hidden", "foot", "color")
    assert [word for word in silent if any(word in one for one in told)] == []
    [procedure] = digest.procedures
    assert [PAGE[start:end] for start, end in procedure.steps] == [
        "Open the box.",
        "Read the dial.",
        "Close the box.",
    ]


def test_a_sentence_of_a_page_is_cited_by_the_very_characters_it_stands_in() -> None:
    digest, lines = _read(PAGE, "html")
    first = PAGE[lines[0].start : lines[0].end]
    assert first == "The <b>spring tide</b> is higher than&nbsp;others &mdash; it comes at full moon."
    assert PAGE[digest.sections[0].heading_start : digest.sections[0].heading_end] == "Tides"


def test_a_page_without_a_top_heading_is_called_what_its_head_says() -> None:
    digest, _ = _read(PAGE.replace("h1", "h2"), "html")
    assert digest.title == "Tides & Gauges"


def test_only_the_main_part_of_a_page_is_read_where_it_says_which_that_is() -> None:
    page = f"<p>Beside it stands a long word of welcome.</p><main><p>{FILLER}</main><p>And another one.</p>"
    assert {line.shown for line in _read(page, "html")[1]} == {TIDE.strip(), WATER.strip()}


RST = f"""=====
Tides
=====

:Author: The office
.. contents::

The :term:`spring tide <spring>` is *higher*, see the `tables <https://tides.example/t>`_ of |port|. {FILLER}

.. note:: A gauge freezes in winter.
   Keep it warm.

.. code-block:: python

   level = read(gauge)

Terms
-----

slack water
    The time when the stream doesn't run. It is short.

Read it like this::

    A dial shows the metres. A pen draws the curve.

.. function:: read(gauge)
   :noindex:

   The level that was measured last is given back.

>>> read(gauge)
3.1

=====  =====
Port   Level
=====  =====
North  The highest level is there.
=====  =====

{FILLER}
"""


def test_restructured_text_is_read_as_its_reader_sees_it() -> None:
    digest, lines = _read(RST, "rst")
    told = [line.shown for line in lines]
    assert _heads(digest) == [(1, "Tides"), (2, "Terms")]
    assert told[0] == "The spring tide is higher, see the tables of port."
    assert "A gauge freezes in winter." in told
    assert "Keep it warm." in told
    assert "slack water: The time when the stream doesn't run." in told
    assert "Read it like this:" in told
    assert "The level that was measured last is given back." in told
    silent = ("Author", "contents", "level =", "dial", "function", "noindex", "3.1", "highest")
    assert [word for word in silent if any(word in one for one in told)] == []


@pytest.mark.parametrize(("text", "format"), [(PAGE, "html"), (RST, "rst")])
def test_a_course_of_either_quotes_the_text_exactly(text: str, format: SourceFormat) -> None:
    digest, _ = _read(text, format)
    spec = builtin_specs()["course"]
    tree = generate(digest, text, Brief(structure_type="course", topic="Tides", counts=resolve_counts(spec)))
    spans = [span for _, node in walk(tree) for span in node.sources]
    assert spans
    assert all(text[span.start : span.end] == span.quote for span in spans)


SCRAPS = (
    "<p|<p>|</p>|<!--|-->|<script>|</script>|<ol><li>|<dl><dt>|<dd>|<a href='x'>|</a>|&amp;|&#8217;|&nbsp;"
    "|<pre>|<td>|<h2>|</h2>|<nav>|<main>|::|.. note:: |    |term\n    |- |1. |\n\n|=====\n|`a <b>`_ "
    "|:x: |* |\f|Slack water|1. Title Case. |9.9.9|Word. Word! "
)
PIECES = st.sampled_from([*"<>&;\"'=/! \n", *SCRAPS.split("|"), TIDE, WATER])


@given(st.lists(PIECES, min_size=4, max_size=60).map("".join), st.sampled_from(["html", "rst", "text"]))
def test_whatever_a_text_holds_its_passages_are_where_the_digest_says(
    text: str, format: SourceFormat
) -> None:
    text = f"{FILLER}\n\n{text}"
    digest, lines = _read(text, format)
    places = [(sentence.start, sentence.end) for sentence in digest.sentences]
    assert places == sorted(places)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(text[start:end] == text[start:end].strip() for start, end in places)
    assert not any("\n" in line.shown or (format == "html" and "<p>" in line.shown) for line in lines)


@pytest.mark.parametrize(
    "piece",
    ["<a ", '<a ="', "<!--", "<script>", "<div class='", "<ol><li>", "<dt>", "::\n ", "\x0c\n", "1. A\n"],
)
def test_hostile_repetition_is_read_in_a_moment(piece: str) -> None:
    text = f"<p>{FILLER}</p>\n\n" + piece * 5_000
    for format in ("html", "rst", "text"):
        assert read_source(text, format=format, name="x").words >= 80


BODY = f"\n\n{FILLER}\n\n"

LICENCE = f"""                          PUBLIC TIDE LICENSE
                         Version 2, 4 May 2007
{BODY}                      TERMS AND CONDITIONS

  0. Definitions.{BODY}  1. Use with Other Tides.{BODY}   2. Grant of Tides. Subject to this License {FILLER}
{BODY}  3. Termination.{BODY}"""


def test_indented_numbered_titles_are_found_alone_and_in_front_of_their_text() -> None:
    with_run_in = LICENCE.replace("   2. Grant", "  2. Grant")
    digest, lines = _read(with_run_in, "text", "LICENSE")
    assert (digest.title, digest.title_is_heading) == ("PUBLIC TIDE LICENSE", True)
    assert _heads(digest) == [
        (1, "PUBLIC TIDE LICENSE"),
        (2, "TERMS AND CONDITIONS"),
        (3, "0. Definitions"),
        (3, "1. Use with Other Tides"),
        (3, "2. Grant of Tides"),
        (3, "3. Termination"),
    ]
    assert any(line.shown.startswith("Subject to this License The tide") for line in lines)


def test_steps_of_a_list_are_no_titles_however_they_are_written() -> None:
    steps = "\n".join(f"  {number}. Open Box {number}. Then look into it.\n" for number in range(1, 6))
    digest, _ = _read(f"Reading\n\n{FILLER}\n\n{steps}", "text")
    assert _heads(digest) == [(1, "Reading")]
    assert [len(procedure.steps) for procedure in digest.procedures] == [5]


def test_an_outline_of_stars_a_manual_page_and_a_log_have_their_own_titles() -> None:
    outline = (
        f"#+TITLE: Tide Details\n# A remark.\n{BODY}* First\n{BODY}"
        f"** Second part :tag:\n{BODY}** Third\n{BODY}"
    )
    assert _heads(_read(outline, "text")[0]) == [
        (1, "Tide Details"),
        (2, "First"),
        (3, "Second part"),
        (3, "Third"),
    ]
    manual = (
        "TIDE(1)            Harbour Manual            TIDE(1)\n\n"
        f"NAME\n       tide - show levels\n\nOPTIONS\n       {FILLER}\n\n   Other options\n       {WATER}\n\n"
        "Harbour 1.2            May 2007            TIDE(1)\n"
    )
    digest, lines = _read(manual, "text")
    assert _heads(digest) == [(1, "TIDE(1)"), (2, "NAME"), (2, "OPTIONS"), (3, "Other options")]
    assert not any("Harbour 1.2" in line.shown for line in lines)
    log = (
        f"tide (1.2-3) unstable; urgency=medium\n\n  * {FILLER}\n\n"
        f" -- Ada Low <ada@tide.example>  Mon, 4 May\n\nChanges in 1.1 (4 May 2007)\n- {WATER}\n\n"
        f"2006-03-01  Ada Low  <ada@tide.example>\n\n\t* gauge: {WATER}\n"
    )
    digest, lines = _read(log, "text", "changelog.gz")
    assert [title for _, title in _heads(digest)] == [
        "tide (1.2-3)",
        "Changes in 1.1 (4 May 2007)",
        "2006-03-01 Ada Low",
    ]
    assert not any("tide.example" in line.shown for line in lines)


def test_page_headers_are_dropped_and_the_first_line_alone_is_the_title() -> None:
    report = (
        f"The Report on Tides\n\n{FILLER}\n\n1. Gauges\n\n{FILLER}\n\n"
        "Low                    Informational                    [Page 1]\n"
        "\fRFC 9999               Tides in Ports               May 2007\n\n"
        f"Article 2 Ports\n\n{FILLER}\n"
    )
    digest, lines = _read(report, "text", "rfc9999.txt")
    assert _heads(digest) == [(1, "The Report on Tides"), (2, "1. Gauges"), (3, "Article 2 Ports")]
    assert {line.shown for line in lines} == {TIDE.strip(), WATER.strip()}


@pytest.mark.parametrize(
    "line",
    [
        "- [The tide tables](https://tides.example/a) | [More](https://tides.example/b)",
        "- `Home page <https://tides.example>`_",
        "Home page https://tides.example/install",
        "- 8ea71e5 - gauge: read twice (Ada Low) #12",
        "- update the tables to v0.22.2 (#3316) (8ea71e5)",
        "* **gauge:** read twice ([#12](https://t.example/12)) ([8ea71e5](https://t.example/8ea71e5))",
    ],
)
def test_links_badges_and_commits_are_no_prose(line: str) -> None:
    for format in ("markdown", "text"):
        _, lines = _read(f"{FILLER}\n\n{line}\n\n{FILLER}", format)
        assert {one.shown for one in lines} == {TIDE.strip(), WATER.strip()}


def test_an_ordinary_line_with_a_link_or_a_number_stays() -> None:
    for line in (
        "See https://tides.example/a for the tables of all ports.",
        "- The gauge was read 12 times (see #3).",
    ):
        _, lines = _read(f"{FILLER}\n\n{line}\n\n{FILLER}", "markdown")
        assert any(word in one.shown for one in lines for word in ("tables of all", "read 12 times"))


def test_the_language_of_a_text_full_of_code_is_told_by_its_prose() -> None:
    names = (
        "`tide_level`, `GaugeReader`, `HarbourOffice`, `PortRecord`: `read_all`, `TideTable`, `Buffer`. " * 12
    )
    assert _read(f"{names}\n\n{FILLER}", "markdown")[0].language == "en"
    strange = (
        "Lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod tempor incididunt labore magna. "
    )
    assert _read(strange * 10, "text")[0].language == "und"


def test_a_file_name_makes_a_title_without_any_of_its_endings() -> None:
    assert _read(FILLER, "text", "docs/tide-tables.txt.gz")[0].title == "Tide tables"
    assert _read(FILLER, "markdown", "Litestar.md")[0].title == "Litestar"
