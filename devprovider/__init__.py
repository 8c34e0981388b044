"""A simulated OpenAI-compatible provider for development and tests: rules write its answers, no model."""
