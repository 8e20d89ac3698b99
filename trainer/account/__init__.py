"""What a run leaves behind: scores, charts, report, model card."""
