"""What the tasks of a run do: accept, open, start, check, close. Joins the Celonis client and the table."""
