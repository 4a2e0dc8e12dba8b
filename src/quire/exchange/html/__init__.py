"""What the pages of an HTML export share: their style and their search."""
