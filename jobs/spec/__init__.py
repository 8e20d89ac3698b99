"""The language of a job: what can be asked for. One module per part of the spec; `job` puts them together."""
