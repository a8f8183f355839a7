"""A simulator of the Celonis Platform API over real HTTP; faults and open questions are settings."""
