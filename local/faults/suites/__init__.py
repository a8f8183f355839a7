"""The cases, with one module for each kind of fault."""
