"""Conversion of JSON documents to typed values, with all problems of a document at once."""
