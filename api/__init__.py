"""How jobs are asked for: HTTP. No torch, no worker, no parsing of uploaded files."""
