"""A simulator of the Celonis Platform API over real HTTP: every fault and every open question playable."""
