"""Frames: trees from a topic alone, which say what to find out and claim nothing. Labelled, capped "
"in score."""
