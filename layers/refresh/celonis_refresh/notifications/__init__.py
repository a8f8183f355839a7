"""What is sent about runs and pipelines: notifications to channels, callbacks, run events."""
