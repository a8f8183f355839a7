"""One data job or one data model load of a run: what Celonis shows of it, and which execution is ours."""
