"""Files, rows and builtin sets as tables or images, and what they look like."""
