"""The poll schedule beside its limit and its peers, in virtual time: pure arithmetic, no stack."""
