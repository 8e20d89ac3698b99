"""What a job is: its spec, rules, states, record, files and queue message. No torch, no HTTP."""
