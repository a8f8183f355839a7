"""Development tools: local replacements for AWS and Celonis, so that the service runs on one machine."""
