"""The item rules find what an independent script plants, and little else (GRANULATION §10, fourth goal)."""

from bench.granulation.items import ITEMS, findings, planted


def test_planted_flaws_are_found_and_sound_questions_are_left_alone():
    quizzes = planted()
    result = findings(quizzes)
    assert sum(map(len, quizzes)) == ITEMS
    assert result.planted.total() >= 200
    assert len(result.planted) >= 25
    assert result.recall >= 0.93, result.missed
    assert result.precision >= 0.85, result.wrong


def test_questions_without_a_flaw_have_no_error_planted_by_chance():
    sound = [[one for one in quiz if one.rule is None] for quiz in planted(seed=5)]
    assert findings(sound).planted.total() == 0
    assert len(findings(sound).wrong) <= 0.05 * sum(map(len, sound))
