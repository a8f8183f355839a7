"""What the functions do: accept, open, start, check, close. Joins steps, table and Celonis client."""
