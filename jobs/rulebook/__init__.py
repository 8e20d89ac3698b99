"""The rules, by what they decide. `jobs.rules` applies them in order."""
