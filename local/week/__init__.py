"""A believable week of runs, written into the local stack: for the page, screenshots and trials."""
