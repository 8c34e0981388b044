"""What a call costs, by the provider's own table. Pure."""

from devprovider.settings import Model

PER_MILLION = 1_000_000


def cost_nano(model: Model, *, prompt: int, cached: int, completion: int) -> int:
    """Nano-dollars for a call, rounded up once; ``cached`` is the part of ``prompt`` seen before."""
    total = (
        (prompt - cached) * model.input_nano_per_million
        + cached * model.cached_input_nano_per_million
        + completion * model.output_nano_per_million
    )
    return -(-total // PER_MILLION)
