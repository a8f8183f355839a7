"""Open files: each process of a function costs this one four, and some systems allow 256."""

import resource

_WANTED = 8192


def raise_file_limit() -> None:
    """Allow as many open files as the system lets this process have, up to what is ever needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
