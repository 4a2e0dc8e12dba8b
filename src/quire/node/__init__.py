"""`Node`: a vault that keeps in step with others. Drives sync/ over transports/, in an event loop."""
