"""What the functions use of AWS: clients, parameters, secrets, executions, notifications."""

import gc
from typing import Final

COLLECTION_THRESHOLD: Final = 100_000
"""New objects until the next garbage collection; the default is 2,000 or fewer."""

# A cold start imports some 900 modules. With the default, garbage collection takes 5 % of that time and frees
# almost nothing.
gc.set_threshold(COLLECTION_THRESHOLD)
