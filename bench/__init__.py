"""Benchmarks: Quire beside a bare-SQLite floor, plain SQLite and SQLCipher, in one run. See `__main__`."""
