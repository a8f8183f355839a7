"""Celonis Refresh: from an event in a source system to a fresh Celonis data model."""
