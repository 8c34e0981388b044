"""Random histories of a fleet: steps interleaved statement by statement, connections and processes dying."""
