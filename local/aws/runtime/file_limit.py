"""The limit of open files: each process of a function needs four, and some systems allow 256."""

import resource

_WANTED = 8192


def raise_file_limit() -> None:
    """Raise the limit of open files to what the stack needs, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
