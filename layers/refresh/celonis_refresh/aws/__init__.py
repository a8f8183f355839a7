"""What the functions use of AWS: clients, parameters, secrets, executions, notifications."""
