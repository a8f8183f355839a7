"""When to poll next. Pure functions: times and random numbers are arguments."""
