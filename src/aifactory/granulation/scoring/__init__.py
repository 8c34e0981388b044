"""The quality score: gates, sub-scores and bands (GRANULATION §7). Pure."""

from aifactory.granulation.scoring.model import Assessment, Band, Score, ScoreState, SubScore
from aifactory.granulation.scoring.total import assess, score

__all__ = ["Assessment", "Band", "Score", "ScoreState", "SubScore", "assess", "score"]
