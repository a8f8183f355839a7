"""When to ask next. Pure, in virtual time."""
