"""Random bytes at every door: a value or the right error, never another one (house rule: bad input is normal input)."""
