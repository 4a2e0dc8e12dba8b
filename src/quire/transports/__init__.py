"""Roads for frames: bytes go in at one end and come out at the other, in order. What is in them is not known here."""
