"""From a JSON document to a model (a ``msgspec.Struct``), or to everything that is wrong with the document.

``convert`` is what others use. A document that fits is converted in one go; only one that does not is walked
field by field: every problem is reported at once, each with its own place and a sentence made
from the type, never from the value: it may be a secret that stands in the wrong field.
"""
