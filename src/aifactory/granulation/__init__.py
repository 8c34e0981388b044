"""Content: worker templates, generation, validation, score, exports."""
