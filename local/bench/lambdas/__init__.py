"""Functions as Lambda starts them: python3.13, Lambda's runtime client, and what ``sam build`` made."""
