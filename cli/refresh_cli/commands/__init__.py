"""The commands. Each module has a function ``register``, which adds its commands to the group."""
