"""What the functions do, in terms of steps, runs, pipelines and webhooks."""
