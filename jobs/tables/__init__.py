"""The tables. A row of `jobs` is the truth about a job."""
