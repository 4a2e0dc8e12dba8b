"""The relay: keeps and forwards items that it cannot read, in mailboxes of which it knows nothing but a public key."""
