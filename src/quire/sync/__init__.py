"""Syncing two devices: the protocol as a state machine, without I/O. docs/spec/09-sync.md."""
