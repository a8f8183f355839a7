"""Functions as Lambda starts them: python3.13, Lambda's runtime client, and the output of ``sam build``."""
